"""The short form of a constant load on a mesh whose leader is killed, in every test run. The long form: `python -m tests.chaos.steady`."""

from __future__ import annotations

import os
import sys

import pytest

from scripts.mongo_server import Missing
from scripts.redis_server import NotInstalled
from tests.chaos.steady import report
from tests.chaos.steady.experiment import Plan, run
from tests.chaos.steady.verdict import faults_of, slowness

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="needs procfs and pidfd, so Linux"),
    pytest.mark.covers("cluster:load"),
]

SLACK = 5.0


@pytest.mark.timeout(200)
def test_killed_leaders_cost_a_constant_load_no_job_no_record_and_no_tick(tmp_path_factory: pytest.TempPathFactory) -> None:
    plan = Plan(algorithm="raft", rate=150.0, seconds=6.0, leader_kill_every_s=3.0, warm_up_s=1.0)
    try:
        outcome = run(plan, tmp_path_factory.mktemp("s"))  # a short path: sockets lie in it
    except (NotInstalled, Missing) as why:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(why))
    slack = SLACK * slowness(outcome)
    print(report.text(outcome, slack))
    assert faults_of(outcome, slack) == []
    unchecked = {finding.id for finding in outcome.verdict.findings if not finding.is_checked}
    assert unchecked == {"C7", "C14"}, "nothing is cancelled, and no order is promised; all else is judged, leaders and schedule too"
