"""Who runs jobs, how full the slots are, how long attempts take."""

from __future__ import annotations

from scripts.boards.panel import IN_JOB, Board, Kind, Panel, Query, per_second, quantile, stat

OF_NODE = ',instance=~"$instance"'

WORKERS = Board(
    "workers",
    "zjp: workers",
    "Who runs jobs, how full the slots are, how long attempts take.",
    (
        stat("Slots", f"sum(zjp_slots{{{IN_JOB}{OF_NODE}}})", "Jobs that may run at once.", bad_below=1),
        stat("Busy", f"sum(zjp_slots_busy{{{IN_JOB}{OF_NODE}}})", "Jobs that run now."),
        stat(
            "In use",
            f"sum(zjp_slots_busy{{{IN_JOB}{OF_NODE}}}) / sum(zjp_slots{{{IN_JOB}{OF_NODE}}})",
            "Full for long, with jobs waiting: add nodes or WORKER_COUNT.",
            "percentunit",
        ),
        stat(
            "Processes with a job",
            f"sum(worker_active_gauge{{{IN_JOB}{OF_NODE}}})",
            "Worker processes that run something.",
        ),
        stat("Nodes draining", f"sum(zjp_node_draining{{{IN_JOB}{OF_NODE}}})", "They take no new jobs."),
        stat(
            "Crashes in an hour",
            f"sum(increase(zjp_worker_crashes_total{{{IN_JOB}{OF_NODE}}}[1h]))",
            "Worker processes that died or were killed at a time limit.",
            bad_from=1,
        ),
        Panel(
            "Slots in use",
            Kind.LINES,
            (Query(f"zjp_slots_busy{{{IN_JOB}{OF_NODE}}} / (zjp_slots{{{IN_JOB}{OF_NODE}}} > 0)", "{{instance}}"),),
            "By node.",
            "percentunit",
        ),
        Panel(
            "Memory of the worker processes",
            Kind.LINES,
            (Query(f"zjp_worker_rss_bytes{{{IN_JOB}{OF_NODE}}}", "{{instance}} {{worker}}"),),
            "Resident. A line that only rises: set WORKER_MAX_RSS.",
            "bytes",
        ),
        Panel(
            "Attempts, by outcome",
            Kind.STACK,
            (Query(per_second("job_processing_duration_seconds_count", "outcome", OF_NODE), "{{outcome}}"),),
            "Per second.",
            "ops",
        ),
        Panel(
            "Attempts, by type",
            Kind.STACK,
            (Query(per_second("job_processing_duration_seconds_count", "type", OF_NODE), "{{type}}"),),
            "Per second.",
            "ops",
        ),
        Panel(
            "Half of the attempts take at most",
            Kind.LINES,
            (Query(quantile(0.5, "job_processing_duration_seconds", "type", OF_NODE), "{{type}}"),),
            "By type of task.",
            "s",
        ),
        Panel(
            "99 of 100 attempts take at most",
            Kind.LINES,
            (Query(quantile(0.99, "job_processing_duration_seconds", "type", OF_NODE), "{{type}}"),),
            "By type of task.",
            "s",
        ),
        Panel(
            "Slots taken, by type",
            Kind.STACK,
            (Query(per_second("job_processing_duration_seconds_sum", "type", OF_NODE), "{{type}}"),),
            "How many slots the attempts of a type keep busy, on average.",
        ),
        Panel(
            "Lost and refused",
            Kind.LINES,
            (
                Query(per_second("zjp_worker_crashes_total", "", OF_NODE), "crashes"),
                Query(per_second("zjp_leases_expired_total", "", OF_NODE), "jobs taken from silent nodes"),
                Query(per_second("zjp_fenced_writes_total", "", OF_NODE), "late outcomes refused"),
            ),
            "Per second.",
            "ops",
        ),
    ),
    (("instance", "zjp_up"),),
)
