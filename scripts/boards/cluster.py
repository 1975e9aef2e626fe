"""Is the cluster up, who leads, how do the stores and the HTTP API do."""

from __future__ import annotations

from scripts.boards.panel import IN_JOB, RATE, Board, Kind, Panel, Query, per_second, quantile, stat

CLUSTER = Board(
    "cluster",
    "zjp: cluster",
    "Is it up, who leads, how do the stores and the HTTP API do.",
    (
        stat("Nodes up", f"sum(zjp_up{{{IN_JOB}}})", "Nodes that answer their HTTP process.", bad_below=1),
        stat(
            "Nodes missing",
            f'max(sum by (instance) (zjp_members{{{IN_JOB},status=~"suspect|dead"}}))',
            "As the others see it.",
            bad_from=1,
        ),
        Panel(
            "Leader",
            Kind.STAT,
            (Query(f"zjp_is_leader{{{IN_JOB}}} == 1", "{{instance}}"),),
            "Who does the leader's duties. Empty: nobody.",
            width=4,
        ),
        stat("Stores up", f"min(zjp_store_up{{{IN_JOB}}})", "1 when every node can read its queue.", bad_below=1),
        stat("Jobs finished", per_second("zjp_jobs_finished_total"), "By all nodes, whatever came of them.", "ops"),
        stat(
            "Alerts firing",
            'count(ALERTS{alertstate="firing",alertname=~"Zjp.*"}) or vector(0)',
            "See docs/monitoring.md.",
            bad_from=1,
        ),
        Panel(
            "Members",
            Kind.LINES,
            (Query(f"max by (status) (zjp_members{{{IN_JOB}}})", "{{status}}"),),
            "By status, as the node sees it that sees most.",
        ),
        Panel(
            "Uptime",
            Kind.LINES,
            (Query(f"node_uptime_seconds{{{IN_JOB}}}", "{{instance}}"),),
            "Falls at a restart.",
            "s",
        ),
        Panel(
            "Store: 99 of 100 operations take at most",
            Kind.LINES,
            (Query(quantile(0.99, "zjp_store_seconds", "operation"), "{{operation}}"),),
            "Of the queue's store, by operation. A batch is one operation.",
            "s",
        ),
        Panel(
            "Store: operations",
            Kind.LINES,
            (Query(per_second("zjp_store_seconds_count", "operation"), "{{operation}}"),),
            "Of all nodes, per second.",
            "ops",
        ),
        Panel(
            "HTTP: requests",
            Kind.STACK,
            (Query(per_second("zjp_http_requests_seconds_count", "status"), "{{status}}"),),
            "Per second, by status.",
            "reqps",
        ),
        Panel(
            "HTTP: 99 of 100 requests take at most",
            Kind.LINES,
            (Query(quantile(0.99, "zjp_http_requests_seconds", "route"), "{{route}}"),),
            "By route. Long polls wait on purpose.",
            "s",
        ),
        Panel(
            "HTTP processes",
            Kind.LINES,
            (Query(f"rate(zjp_api_cpu_seconds_total{{{IN_JOB}}}[{RATE}])", "{{instance}}"),),
            "CPU: 1 is a whole core, and all that one HTTP process can use.",
            "percentunit",
        ),
        Panel(
            "HTTP processes: memory",
            Kind.LINES,
            (Query(f"zjp_api_rss_bytes{{{IN_JOB}}}", "{{instance}}"),),
            "Resident.",
            "bytes",
        ),
        Panel(
            "Refusals and errors",
            Kind.LINES,
            (
                Query(per_second("zjp_internal_errors_total"), "internal errors"),
                Query(per_second("zjp_wire_errors_total"), "unreadable messages"),
                Query(per_second("zjp_api_ends_total"), "ends of HTTP processes"),
                Query(per_second("zjp_replies_dropped_total"), "replies to clients that were gone"),
                Query(f"{per_second('zjp_connections_refused_total')} or vector(0)", "connections refused by CURVE"),
                Query(f"{per_second('zjp_peer_drops_total')} or vector(0)", "messages between nodes dropped"),
            ),
            "Per second. Zero on a good day.",
            "ops",
        ),
        Panel("Versions", Kind.TABLE, (Query(f"zjp_build_info{{{IN_JOB}}}"),), "What runs where."),
    ),
)
