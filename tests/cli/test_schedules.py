"""`zjp schedules` and `zjp cluster leader` against a real node."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.system.running import Ended, RunningNode, run_zjp

pytestmark = [pytest.mark.system, pytest.mark.covers("cli:schedules", "main-path:10")]

Zjp = Callable[..., Ended]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with RunningNode(tmp_path_factory.mktemp("node"), app="tests.cli.node_tasks:app", worker_count=2, worker_processes=1) as running:
        yield running


@pytest.fixture
def zjp(node: RunningNode) -> Zjp:
    return lambda *arguments: run_zjp("--address", node.address, *arguments)


def test_schedule_is_added_shown_changed_paused_run_and_removed(zjp: Zjp) -> None:
    timing = ("--cron", "30 2 * * *", "--zone", "Europe/Berlin")
    made = zjp("schedules", "add", "nightly", "echo", "full=true", *timing, "--tag", "x", "--json")
    assert made.code == 0, made
    told = made.json()
    assert (told["name"], told["payload"], told["cron"], told["every"]) == ("nightly", {"full": True}, "30 2 * * *", None)
    assert told["catch_up"] == "once"
    assert len(told["next_runs"]) == 5
    assert told["next_runs"][0] == told["next_at"]
    assert "nightly  echo  30 2 * * *  Europe/Berlin  once" in zjp("schedules", "list").out
    assert [one["name"] for one in zjp("schedules", "list", "--json").json()] == ["nightly"]
    changed = zjp("schedules", "change", "nightly", "full=false", "--every", "1h", "--timeout-job", "5s", "--json").json()
    assert (changed["payload"], changed["cron"], changed["every"], changed["timeout"]) == ({"full": False}, None, "1h", "5s")
    paused = zjp("schedules", "pause", "nightly")
    assert (paused.code, paused.out, "zjp schedules resume nightly" in paused.err) == (0, "", True)
    assert zjp("schedules", "show", "nightly", "--json").json()["next_runs"] == []
    assert zjp("schedules", "resume", "nightly", "--json").json()["paused"] is False
    assert "every 1h" in zjp("schedules", "show", "nightly").out
    job = zjp("schedules", "run", "nightly", "--wait", "--json").json()
    assert (job["result"], job["tags"]) == ({"full": False}, ["x", "schedule:nightly"])
    assert uuid.UUID(zjp("schedules", "run", "nightly").out.strip()).version == 7
    assert zjp("schedules", "change", "nightly", "--tag", "y", "--json").json()["tags"] == ["y"]
    assert zjp("schedules", "change", "nightly", "--no-tags", "--json").json()["tags"] == []
    limits = ("max_retries", "timeout", "soft_timeout", "unique_key")
    given = ("--max-retries", "1", "--timeout-job", "9s", "--soft-timeout", "8s", "--unique-key", "k")
    full = zjp("schedules", "change", "nightly", *given, "--json").json()
    assert [full[name] for name in limits] == [1, "9s", "8s", "k"]
    gone = ("--no-max-retries", "--no-timeout-job", "--no-soft-timeout", "--no-unique-key")
    bare = zjp("schedules", "change", "nightly", *gone, "--json").json()
    assert [bare[name] for name in limits] == [None] * 4
    assert zjp("schedules", "remove", "nightly", "--yes", "--json").json() == {"name": "nightly", "removed": True}
    assert zjp("schedules", "list", "--json").json() == []


@pytest.mark.covers("cli:exit-codes", "cli:yes")
def test_what_cannot_be_is_told_with_exit_code_1_or_2(zjp: Zjp) -> None:
    for arguments, code, text in (
        (("add", "x", "echo"), 2, "a schedule has a cron expression or an interval (every), none of them is; give one of them"),
        (("add", "x", "echo", "--cron", "61 * * * *"), 2, "cron '61 * * * *' is not understood (Bad minute)"),
        (("add", "x", "echo", "--every", "soon"), 2, "'soon' is not a duration"),
        (("add", "x", "echo", "--every", "1h", "--catch-up", "maybe"), 2, "'maybe' is not one of"),
        (("add", "x", "echo", "--every", "1h", "--zone", "Mars/Phobos"), 1, "zone 'Mars/Phobos' is no time zone"),
        (("show", "missing"), 1, "no schedule 'missing'; `zjp schedules list` shows those there are"),
        (("run", "missing"), 1, "no schedule 'missing'"),
        (("change", "missing"), 2, "nothing to change"),
        (("change", "missing", "--tag", "x", "--no-tags"), 2, "--tag and --no-tags are both given"),
        (("change", "missing", "--timeout-job", "9s", "--no-timeout-job"), 2, "--timeout-job and --no-timeout-job are both given"),
        (("remove", "missing", "--yes"), 1, "no schedule 'missing'"),
        (("remove", "missing"), 2, "this cannot be undone: add --yes"),
    ):
        told = zjp("schedules", *arguments)
        assert (told.code, text in told.err) == (code, True), (arguments, told)


def test_leader_is_shown_with_its_epoch(zjp: Zjp, node: RunningNode) -> None:
    told = zjp("cluster", "leader", "--json").json()
    assert (told["leader"], told["epoch"], told["is_here"], told["is_in_office"]) == (node.stats()["node"], 1, True, True)
    shown = zjp("cluster", "leader")
    assert shown.code == 0
    assert "this node" in shown.out
