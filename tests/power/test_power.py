"""The short form of power cuts, in every test run that may cut power; and the judge seen catching a queue that does not wait for its disk.

What a machine lacks for it is the reason of a skip, by name. The long form: `make power`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power import report
from tests.power.experiment import Outcome, Plan, run
from tests.power.image import PREFIX, TRIAL_BYTES, CannotCut, Image, mounts_in, own_folder, sweep
from tests.power.stores import ALL, missing_for
from tests.system.running import ROOT, clean_environment

pytestmark = [pytest.mark.power, pytest.mark.system, pytest.mark.timeout(300)]

SHORT_S = (0.4, 1.0)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """For images. Skips where the test's store, or any power cut, is not possible."""
    if missing := missing_for(getattr(request, "param", "sqlite")):
        pytest.skip(missing)
    with own_folder() as made:
        yield made


def short_run(folder: Path, store: str, cuts: int) -> Outcome:
    outcome = run(Plan(store, cuts, seed=7, under_load_s=SHORT_S), folder, ALL[store])
    print(report.text([outcome]))
    assert sum(verdict.acknowledged for verdict in outcome.verdicts) > 0, "nothing was at stake"
    return outcome


@pytest.mark.covers("power:sqlite")
def test_node_on_sqlite_loses_nothing_that_it_acknowledged_to_a_power_cut(folder: Path) -> None:
    assert short_run(folder, "sqlite", 2).wrong == []


@pytest.mark.covers("power:redis-always")
@pytest.mark.parametrize("folder", ["redis-always"], indirect=True)
def test_redis_that_syncs_always_loses_nothing_to_a_power_cut(folder: Path) -> None:
    assert short_run(folder, "redis-always", 1).wrong == []


@pytest.mark.covers("power:redis-everysec")
@pytest.mark.parametrize("folder", ["redis-everysec"], indirect=True)
def test_redis_that_syncs_every_second_loses_no_more_than_that_to_a_power_cut(folder: Path) -> None:
    assert short_run(folder, "redis-everysec", 1).wrong == []


@pytest.mark.covers("power:judge")
def test_queue_that_does_not_wait_for_its_disk_is_caught(folder: Path) -> None:
    outcome = short_run(folder, "sqlite-normal", 1)
    assert any("acknowledged jobs lost" in one for one in outcome.wrong), report.text([outcome])


def test_what_was_not_synced_is_gone_after_a_cut_and_what_was_is_not(folder: Path) -> None:
    with Image(folder, TRIAL_BYTES) as image:
        (image.mount / "synced").write_text("kept")
        subprocess.run(["sync", str(image.mount / "synced")], check=True)
        (image.mount / "hasty").write_text("gone")
        image.cut()
        image.mount_again()
        assert (image.mount / "synced").read_text() == "kept"
        assert not (image.mount / "hasty").exists()
    assert mounts_in(folder) == []


@pytest.mark.parametrize("how", ["slave", "private"])
def test_copy_of_the_mount_in_another_namespace_does_not_hide_a_cut(folder: Path, how: str) -> None:
    """As one who enters a network namespace takes it along, and as one who will not hear that it is gone."""
    with Image(folder, TRIAL_BYTES) as image:
        (image.mount / "hasty").write_text("gone")
        elsewhere = ["unshare", "--mount", "--propagation", how, "sh", "-c", "echo in; read end"]
        with subprocess.Popen(elsewhere, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            image.cut()
            if how == "private":
                with pytest.raises(CannotCut, match="another mount namespace holds a copy"):
                    image.mount_again()
            else:
                image.mount_again()
                assert not (image.mount / "hasty").exists()
            process.communicate("end\n")


def test_what_a_killed_run_leaves_is_removed_by_the_next(folder: Path) -> None:
    run_alone = [sys.executable, "-c", "import tests.power.test_power as t; t.hold_an_image()"]
    with subprocess.Popen(
        run_alone, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert left.name.startswith(PREFIX)
        assert mounts_in(left) != []
        assert left not in sweep(), "it is still held"
        process.send_signal(signal.SIGKILL)
    sweep()
    assert mounts_in(left) == []
    assert not left.exists()


def hold_an_image() -> None:
    """Until stdin ends."""
    with own_folder() as made, Image(made, TRIAL_BYTES):
        print(made, flush=True)
        sys.stdin.read()
