"""For each alert: a cluster in which it fires, and one near it in which it does not. In promtool's notation of series: `1x60` is 1, 61
times, one value each 5 s; `0+2x60` rises by 2.

A case says what differs from `HEALTHY`; None takes a series away. At `at` the alert fires, or does not, and nothing else does but what
`with_it` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVER = "x75"
"""Over six minutes."""
A, B = NODES = tuple(f'job="zjp",instance="{name}:9090"' for name in ("node-1", "node-2"))

HEALTHY: Mapping[str, str] = {
    **{f"up{{{node}}}": f"1{EVER}" for node in NODES},
    **{f"zjp_up{{{node}}}": f"1{EVER}" for node in NODES},
    **{f"zjp_store_up{{{node}}}": f"1{EVER}" for node in NODES},
    **{f"node_uptime_seconds{{{node}}}": f"5+5{EVER}" for node in NODES},
    **{f"zjp_api_ends_total{{{node}}}": f"1{EVER}" for node in NODES},
    **{f"zjp_is_leader{{{node}}}": f"{int(node == A)}{EVER}" for node in NODES},
    **{f'zjp_members{{{node},status="alive"}}': f"2{EVER}" for node in NODES},
    **{
        f'zjp_members{{{node},status="{status}"}}': f"0{EVER}"
        for node in NODES
        for status in ("suspect", "dead", "left")
    },
    **{f'election_leader_changes_total{{{node},algorithm="raft"}}': f"1{EVER}" for node in NODES},
    **{f'zjp_queue_oldest_seconds{{{node},queue="default"}}': f"2{EVER}" for node in NODES},
    **{f'zjp_queue_paused{{{node},queue="default"}}': f"0{EVER}" for node in NODES},
    f'zjp_jobs_finished_total{{{A},type="email",queue="default",outcome="completed"}}': f"0+100{EVER}",
    f'zjp_jobs_finished_total{{{A},type="email",queue="default",outcome="failed"}}': f"0+1{EVER}",
    **{f"zjp_worker_crashes_total{{{node}}}": f"1{EVER}" for node in NODES},
    **{f"zjp_fenced_writes_total{{{node}}}": f"2{EVER}" for node in NODES},
    **{f"zjp_records_backlog{{{node}}}": f"40{EVER}" for node in NODES},
    **{f"zjp_records_refused{{{node}}}": f"0{EVER}" for node in NODES},
    **{f"zjp_internal_errors_total{{{node}}}": f"1{EVER}" for node in NODES},
    f'zjp_http_requests_seconds_count{{{A},method="GET",route="/health",status="200"}}': f"0+50{EVER}",
    f'zjp_http_requests_seconds_count{{{A},method="GET",route="/health",status="503"}}': f"0+1{EVER}",
}


@dataclass(frozen=True, slots=True)
class Case:
    changes: Mapping[str, str | None]
    at: str
    with_it: frozenset[str] = field(default_factory=frozenset)


def from_step(step: int, before: str, after: str) -> str:
    """`before` for so many steps of 5 s, then `after` for ever."""
    return f"{before}x{step - 1} {after}{EVER}"


def everywhere(name: str, values: str, labels: str = "") -> dict[str, str | None]:
    return {f"{name}{{{node}{labels}}}": values for node in NODES}


GONE = dict.fromkeys(HEALTHY)
NODE_2 = {series: None for series in HEALTHY if B in series}

FIRES: Mapping[str, Case] = {
    "ZjpNobodyAnswers": Case(GONE, "1m"),
    "ZjpScrapeFails": Case({**NODE_2, f"up{{{B}}}": from_step(12, "1", "0")}, "1m35s"),
    "ZjpNodeSilent": Case({**NODE_2, f"up{{{B}}}": f"1{EVER}", f"zjp_up{{{B}}}": from_step(12, "1", "0")}, "1m35s"),
    "ZjpNodeGone": Case({**NODE_2, f'zjp_members{{{A},status="suspect"}}': from_step(12, "0", "1")}, "1m35s"),
    "ZjpNodeRestarting": Case({f"node_uptime_seconds{{{B}}}": f"5+5x9 5+5x9 5+5x9 5+5{EVER}"}, "4m"),
    "ZjpApiRestarting": Case({f"zjp_api_ends_total{{{B}}}": f"1x9 2x9 3x9 4{EVER}"}, "4m"),
    "ZjpNoLeader": Case({f"zjp_is_leader{{{A}}}": from_step(12, "1", "0")}, "1m15s"),
    "ZjpTwoLeaders": Case({f"zjp_is_leader{{{B}}}": from_step(12, "0", "1")}, "1m35s"),
    "ZjpLeaderChanges": Case(
        everywhere("election_leader_changes_total", "1x7 2x7 3x7 4x7 5x7 6x7 7x7 8x7", ',algorithm="raft"'), "5m"
    ),
    "ZjpOldestWaiting": Case(everywhere("zjp_queue_oldest_seconds", f"0+5{EVER}", ',queue="mail"'), "1m45s"),
    "ZjpFailureRate": Case(
        {f'zjp_jobs_finished_total{{{B},type="email",queue="default",outcome="failed"}}': f"0+20{EVER}"}, "6m"
    ),
    "ZjpWorkersCrash": Case({f"zjp_worker_crashes_total{{{B}}}": from_step(12, "1", "1+1")}, "5m"),
    "ZjpFenceRefusals": Case({f"zjp_fenced_writes_total{{{B}}}": from_step(12, "2", "3")}, "2m"),
    "ZjpStoreDown": Case(everywhere("zjp_store_up", from_step(12, "1", "0")), "1m15s"),
    "ZjpRecordsBehind": Case(everywhere("zjp_records_backlog", from_step(12, "40", "20000")), "3m10s"),
    "ZjpRecordsStuck": Case(everywhere("zjp_records_backlog", from_step(12, "40", "600000")), "1m35s"),
    "ZjpRecordsRefused": Case({f"zjp_records_refused{{{B}}}": from_step(12, "0", "1")}, "2m5s"),
    "ZjpInternalErrors": Case({f"zjp_internal_errors_total{{{B}}}": from_step(12, "1", "2")}, "2m"),
    "ZjpHttpErrors": Case(
        {f'zjp_http_requests_seconds_count{{{A},method="GET",route="/health",status="503"}}': f"0+5{EVER}"}, "6m"
    ),
}

CALM: Mapping[str, Case] = {
    "ZjpNobodyAnswers": Case({**GONE, f"zjp_up{{{A}}}": from_step(60, "1", "0")}, "5m20s"),
    "ZjpScrapeFails": Case({f"up{{{B}}}": f"1x9 0x4 1{EVER}"}, "1m9s"),
    "ZjpNodeSilent": Case({f"zjp_up{{{B}}}": f"1x9 0x4 1{EVER}"}, "1m9s"),
    "ZjpNodeGone": Case(
        {f'zjp_members{{{A},status="suspect"}}': f"0x11 1x3 0{EVER}", f'zjp_members{{{A},status="left"}}': f"1{EVER}"},
        "1m15s",
    ),
    "ZjpNodeRestarting": Case({f"node_uptime_seconds{{{B}}}": f"5+5x9 5+5x9 5+5{EVER}"}, "4m"),
    "ZjpApiRestarting": Case({f"zjp_api_ends_total{{{B}}}": f"1x9 2{EVER}"}, "4m"),
    "ZjpNoLeader": Case(
        {f"zjp_is_leader{{{A}}}": from_step(12, "1", "0"), f"zjp_is_leader{{{B}}}": from_step(13, "0", "1")}, "1m4s"
    ),
    "ZjpTwoLeaders": Case({f"zjp_is_leader{{{B}}}": f"0x9 1x3 0{EVER}"}, "1m5s"),
    "ZjpLeaderChanges": Case(
        everywhere("election_leader_changes_total", f"1x12 2x12 3{EVER}", ',algorithm="raft"'), "5m"
    ),
    "ZjpOldestWaiting": Case(
        {
            **everywhere("zjp_queue_oldest_seconds", f"0+5{EVER}", ',queue="mail"'),
            **everywhere("zjp_queue_paused", f"1{EVER}", ',queue="mail"'),
            **everywhere("zjp_queue_oldest_seconds", from_step(70, "0", "70"), ',queue="news"'),
        },
        "5m55s",
    ),
    "ZjpFailureRate": Case(
        {
            f'zjp_jobs_finished_total{{{B},type="rare",queue="default",outcome="failed"}}': f"0x9 1x9 2x9 3{EVER}",
            f'zjp_jobs_finished_total{{{B},type="new",queue="default",outcome="failed"}}': from_step(60, "0", "0+20"),
        },
        "6m",
    ),
    "ZjpWorkersCrash": Case({f"zjp_worker_crashes_total{{{B}}}": f"1x9 2x9 3{EVER}"}, "5m"),
    "ZjpFenceRefusals": Case({f"zjp_fenced_writes_total{{{B}}}": f"5x9 0{EVER}"}, "4m"),
    "ZjpStoreDown": Case(everywhere("zjp_store_up", f"1x11 0x1 1{EVER}"), "1m5s"),
    "ZjpRecordsBehind": Case(everywhere("zjp_records_backlog", from_step(60, "9000", "20000")), "6m"),
    "ZjpRecordsStuck": Case(
        everywhere("zjp_records_backlog", from_step(70, "400000", "600000")), "6m", frozenset({"ZjpRecordsBehind"})
    ),
    "ZjpRecordsRefused": Case({f"zjp_records_refused{{{B}}}": f"0x9 1x9 0{EVER}"}, "2m"),
    "ZjpInternalErrors": Case({f"zjp_internal_errors_total{{{B}}}": f"1x9 0{EVER}"}, "4m"),
    "ZjpHttpErrors": Case(
        {
            f'zjp_http_requests_seconds_count{{{A},method="GET",route="/health",status="404"}}': f"0+50{EVER}",
            f'zjp_http_requests_seconds_count{{{A},method="GET",route="/health",status="503"}}': from_step(
                60, "0", "0+50"
            ),
        },
        "6m",
    ),
}
"""Many come near it in two ways: a little below the limit, or beyond it for less than its time."""
