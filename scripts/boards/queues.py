"""What waits, for how long, and what becomes of it."""

from __future__ import annotations

from scripts.boards.panel import IN_JOB, RATE, Board, Kind, Panel, Query, per_second, quantile, stat

IN_QUEUE = ',queue=~"$queue"'

QUEUES = Board(
    "queues",
    "zjp: queues",
    "What waits, for how long, and what becomes of it.",
    (
        stat(
            "Waiting",
            f'sum(max by (queue) (queue_depth_gauge{{{IN_JOB}{IN_QUEUE},state="pending"}}))',
            "Jobs that could run now.",
        ),
        stat(
            "Running", f'sum(max by (queue) (queue_depth_gauge{{{IN_JOB}{IN_QUEUE},state="running"}}))', "On all nodes."
        ),
        stat(
            "Oldest waits for",
            f"max(zjp_queue_oldest_seconds{{{IN_JOB}{IN_QUEUE}}})",
            "The job that is due longest.",
            "s",
            bad_from=60,
        ),
        stat(
            "Queues paused",
            f"sum(max by (queue) (zjp_queue_paused{{{IN_JOB}{IN_QUEUE}}}))",
            "`zjp queues resume` ends it.",
        ),
        stat(
            "Backlog of the records",
            f"max(zjp_records_backlog{{{IN_JOB}}})",
            "Finished jobs on their way.",
            bad_from=10_000,
        ),
        stat("Records", f"max(zjp_records{{{IN_JOB}}})", "Finished jobs kept."),
        Panel(
            "Waiting jobs",
            Kind.STACK,
            (Query(f'max by (queue) (queue_depth_gauge{{{IN_JOB}{IN_QUEUE},state="pending"}})', "{{queue}}"),),
            "By queue.",
        ),
        Panel(
            "All jobs that are not finished",
            Kind.STACK,
            (Query(f"sum by (state) (max by (queue, state) (queue_depth_gauge{{{IN_JOB}{IN_QUEUE}}}))", "{{state}}"),),
            "By state.",
        ),
        Panel(
            "Age of the oldest",
            Kind.LINES,
            (Query(f"max by (queue) (zjp_queue_oldest_seconds{{{IN_JOB}{IN_QUEUE}}})", "{{queue}}"),),
            "How long the next job of a queue has been due. The figure to alert on and to scale by.",
            "s",
        ),
        Panel(
            "From due to started",
            Kind.LINES,
            tuple(Query(quantile(share, "zjp_job_wait_seconds"), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
            "Of the jobs that started: half, 95 and 99 of 100 waited at most so long.",
            "s",
        ),
        Panel(
            "Submitted and finished",
            Kind.LINES,
            (
                Query(per_second("zjp_jobs_submitted_total"), "submitted"),
                Query(per_second("zjp_jobs_finished_total"), "finished"),
                Query(per_second("zjp_submits_repeated_total"), "repeated submits"),
                Query(per_second("zjp_schedule_ticks_total"), "made by schedules"),
            ),
            "Per second.",
            "ops",
        ),
        Panel(
            "Finished, by outcome",
            Kind.STACK,
            (Query(per_second("zjp_jobs_finished_total", "outcome", IN_QUEUE), "{{outcome}}"),),
            "Per second.",
            "ops",
        ),
        Panel(
            "Share that fails",
            Kind.LINES,
            (
                Query(
                    per_second("zjp_jobs_finished_total", "type", IN_QUEUE + ',outcome="failed"')
                    + " / "
                    + per_second("zjp_jobs_finished_total", "type", IN_QUEUE),
                    "{{type}}",
                ),
            ),
            "For good, after all retries, by type of task.",
            "percentunit",
        ),
        Panel(
            "Retries",
            Kind.LINES,
            (Query(per_second("zjp_retries_total"), "retries"),),
            "Failed attempts that get another one.",
            "ops",
        ),
        Panel(
            "How long jobs wait",
            Kind.HEAT,
            (Query(f"sum by (le) (increase(zjp_job_wait_seconds_bucket{{{IN_JOB}}}[{RATE}]))", "{{le}}"),),
            "Jobs by the time from due to started.",
            "s",
            24,
        ),
    ),
    (("queue", "queue_depth_gauge"),),
)
