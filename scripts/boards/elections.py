"""Who leads, since when, and what it costs when that changes."""

from __future__ import annotations

from scripts.boards.panel import IN_JOB, RATE, Board, Kind, Panel, Query, per_second, stat

ELECTIONS = Board(
    "elections",
    "zjp: elections",
    "Who leads, since when, and what it costs when that changes.",
    (
        stat("Leaders", f"sum(zjp_is_leader{{{IN_JOB}}})", "One is right.", bad_below=1),
        stat(
            "Epoch", f"max(zjp_election_term{{{IN_JOB}}})", "Rises with each leader; writes of older ones are refused."
        ),
        stat(
            "Changes in a day",
            f"max(sum by (instance) (increase(election_leader_changes_total{{{IN_JOB}}}[1d])))",
            "As one node saw them.",
        ),
        stat(
            "Without a leader, in a day",
            f"max(increase(zjp_leaderless_seconds_total{{{IN_JOB}}}[1d]))",
            "As one node saw it.",
            "s",
        ),
        stat(
            "Mean time of an election",
            f"sum(zjp_election_duration_seconds_sum{{{IN_JOB}}}) / sum(zjp_election_duration_seconds_count{{{IN_JOB}}})",
            "Of those that were won, since the nodes started.",
            "s",
        ),
        stat("Late writes refused", f"sum(zjp_fenced_writes_total{{{IN_JOB}}})", "Since the nodes started."),
        Panel(
            "Leader",
            Kind.STATES,
            (Query(f"zjp_is_leader{{{IN_JOB}}}", "{{instance}}"),),
            "Who did the leader's duties when.",
            width=24,
        ),
        Panel(
            "Epoch, as each node knows it",
            Kind.LINES,
            (Query(f"zjp_election_term{{{IN_JOB}}}", "{{instance}}"),),
            "A line that stays below the others belongs to a node that is cut off.",
        ),
        Panel(
            "Changes of the leader",
            Kind.LINES,
            (
                Query(
                    f"sum by (instance, algorithm) (increase(election_leader_changes_total{{{IN_JOB}}}[{RATE}]))",
                    "{{instance}} {{algorithm}}",
                ),
            ),
            "As each node saw them.",
        ),
        Panel(
            "Without a leader",
            Kind.LINES,
            (Query(f"rate(zjp_leaderless_seconds_total{{{IN_JOB}}}[{RATE}])", "{{instance}}"),),
            "Share of the time.",
            "percentunit",
        ),
        Panel(
            "Elections take at most",
            Kind.LINES,
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le) (zjp_election_duration_seconds_bucket{{{IN_JOB}}}))",
                    f"{share:.0%}",
                )
                for share in (0.5, 0.9, 0.99)
            ),
            "Of those that were won, since the nodes started.",
            "s",
        ),
        Panel(
            "Members, as each node sees them",
            Kind.LINES,
            (Query(f'zjp_members{{{IN_JOB},status="alive"}}', "{{instance}}"),),
            "Alive ones. Nodes that differ for long are cut off from one another.",
        ),
        Panel(
            "Messages between nodes dropped",
            Kind.LINES,
            (Query(f"{per_second('zjp_peer_drops_total', 'why')} or vector(0)", "{{why}}"),),
            "Per second: refused, or not to be sent.",
            "ops",
        ),
    ),
)
