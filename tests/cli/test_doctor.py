"""What the doctor finds, and what it says to do about it."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.system.running import clean_environment
from zjp.cli import checks
from zjp.cli.checks import NOTE, OK, WRONG
from zjp.config import Settings
from zjp.errors import NodeUnreachable, WireError
from zjp.transport.curve import Holder, KeyRole, authorize, make_folder, make_pair, write_pair
from zjp.wire.messages import Durability, Pong

pytestmark = pytest.mark.covers("cli:doctor")

PONG = Pong("node-1", "0.1.0", Durability.DISK, False, ["email"])


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is another one than the checkout, which stays importable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", clean_environment()["PYTHONPATH"])
    return tmp_path


def nobody() -> Pong:
    raise NodeUnreachable("no node could be reached")


def test_a_healthy_machine_has_nothing_wrong(zjp: Run) -> None:
    free = {"ZJP_ZMQ_BIND": "tcp://127.0.0.1:*", "ZJP_SERVER_PORT": "0", "ZJP_METRICS_PORT": "0"}
    told = zjp("doctor", "--json", env=free)
    findings = {finding["what"]: finding for finding in json.loads(told.stdout)}
    assert told.exit_code == 0, findings
    assert set(findings) == {"settings", "python", "sqlite", "data folder", "disk space", "store", "sockets", "open files", "clock",
                             "keys", "application", "node", "client keys", "file system", "api", "http port", "metrics port"}  # fmt: skip
    assert findings["application"]["state"] == NOTE
    assert "--app module:app" in findings["application"]["advice"]


def test_bad_settings_are_listed_one_by_one_and_the_rest_is_checked_all_the_same(zjp: Run) -> None:
    told = zjp("doctor", env={"ZJP_WORKER_COUNT": "x", "ZJP_LEASE_DURATION": "y", "ZJP_ZMQ_BIND": "tcp://127.0.0.1:*"})
    assert told.exit_code == 1
    assert told.stdout.count("wrong ") == 2
    assert "WORKER_COUNT=x" in told.stdout
    assert "data folder" in told.stdout


def test_a_data_folder_that_is_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = checks.data_folder(Settings(data_dir=tmp_path / "file" / "data"))
    assert finding.state == WRONG
    assert "not a folder" in finding.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    finding = checks.data_folder(Settings(data_dir=tmp_path))
    assert finding.state == WRONG
    assert "cannot write" in finding.found
    assert "DATA_DIR" in finding.advice


def test_a_data_folder_open_to_others_is_noted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert checks.data_folder(Settings(data_dir=tmp_path)).advice == f"chmod 700 {tmp_path}"


def test_a_data_folder_that_is_not_there_yet_is_well(tmp_path: Path) -> None:
    assert checks.data_folder(Settings(data_dir=tmp_path / "a" / "b")).state == OK


def test_too_little_disk_is_wrong(tmp_path: Path) -> None:
    finding = checks.disk_space(Settings(data_dir=tmp_path, disk_reserve_bytes=1 << 60))
    assert finding.state == WRONG
    assert "DISK_RESERVE" in finding.advice


def make_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE jobs(id, data)")
        db.executemany("INSERT INTO jobs VALUES(?, ?)", [(number, "x" * 200) for number in range(2_000)])
        db.commit()


def test_stores_that_are_not_there_yet_are_well(tmp_path: Path) -> None:
    assert checks.stores(Settings(data_dir=tmp_path)).state == OK


def test_sound_stores_are_well_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    for name in ("zjp.db", "records.db"):
        make_store(tmp_path / name)
    finding = checks.stores(Settings(data_dir=tmp_path))
    assert (finding.state, finding.found.count("is sound")) == (OK, 2), finding
    assert {path.name for path in tmp_path.iterdir()} == {"zjp.db", "records.db"}


def test_a_store_that_is_open_is_read_as_it_is(tmp_path: Path) -> None:
    make_store(tmp_path / "zjp.db")
    with closing(sqlite3.connect(tmp_path / "zjp.db", isolation_level=None)) as node:
        node.execute("BEGIN IMMEDIATE")
        node.execute("DELETE FROM jobs")
        assert checks.stores(Settings(data_dir=tmp_path)).state == OK
        node.execute("COMMIT")
        assert node.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


@pytest.mark.parametrize("damage", ["a page in the middle", "all of it"])
def test_a_damaged_store_is_wrong_and_named(tmp_path: Path, damage: str) -> None:
    make_store(tmp_path / "zjp.db")
    make_store(tmp_path / "records.db")
    content = bytearray((tmp_path / "records.db").read_bytes())
    if damage == "all of it":
        content[:] = b"no database" * (len(content) // 11)
    else:
        content[40_960:45_056] = b"\xff" * 4_096
    (tmp_path / "records.db").write_bytes(content)
    finding = checks.stores(Settings(data_dir=tmp_path))
    assert finding.state == WRONG
    assert "records.db is damaged" in finding.found
    assert "zjp.db" in finding.found.partition("is sound")[0]
    assert "backup" in finding.advice


def test_a_store_that_is_too_large_to_look_through_is_said_to_be_skipped(tmp_path: Path) -> None:
    with (tmp_path / "zjp.db").open("wb") as file:
        file.truncate(checks.STORE_BYTES_MAX + 1)
    finding = checks.stores(Settings(data_dir=tmp_path))
    assert finding.state == NOTE
    assert "zjp.db" in finding.found
    assert "skipped" in finding.found


def test_files_from_the_future_mean_that_the_clock_was_set_back(tmp_path: Path) -> None:
    (tmp_path / "zjp.db").touch()
    os.utime(tmp_path / "zjp.db", (4_000_000_000, 4_000_000_000))
    finding = checks.clock(Settings(data_dir=tmp_path))
    assert finding.state == WRONG
    assert "in the future" in finding.found


def test_an_application_that_cannot_be_imported_is_told_with_its_own_error(elsewhere: Path) -> None:
    (elsewhere / "broken.py").write_text("raise RuntimeError('my own fault')\n")
    finding = checks.application(Settings(app="broken:app"))
    assert finding.state == WRONG
    assert "my own fault" in finding.found
    assert "No module named 'missing'" in checks.application(Settings(app="missing:app")).found


def test_an_application_is_told_with_its_tasks(elsewhere: Path) -> None:
    (elsewhere / "empty.py").write_text("from zjp import App\napp = App()\n")
    none = checks.application(Settings(app="empty:app"))
    assert none.state == WRONG
    assert "it has no tasks" in none.found
    assert "imported by the one that APP names" in none.advice
    (elsewhere / "fine.py").write_text("from zjp import App\napp = App()\n@app.task('email')\ndef email(ctx): ...\n")
    finding = checks.application(Settings(app="fine:app"))
    assert (finding.state, finding.found) == (OK, "fine:app, tasks: email")


def test_a_node_that_answers_is_well() -> None:
    finding = checks.node_or_port(Settings(), lambda: PONG)
    assert finding.state == OK
    assert "node-1 answers" in finding.found


def test_a_node_without_tasks_is_noted() -> None:
    finding = checks.node_or_port(Settings(), lambda: Pong("node-1", "0.1.0", Durability.DISK, False, []))
    assert (finding.state, finding.advice) == (NOTE, "give it an application: --app module:app")


def test_a_port_that_something_else_holds_is_wrong() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        finding = checks.node_or_port(Settings(zmq_bind=address), nobody)
    assert finding.state == WRONG
    assert address in finding.found
    assert "ZMQ_BIND" in finding.advice


def test_a_node_that_does_not_answer_where_it_is_looked_for_is_noted() -> None:
    finding = checks.node_or_port(Settings(client_address=("tcp://10.0.0.7:5570",)), nobody)
    assert finding.state == NOTE
    assert "CLIENT_ADDRESS" in finding.advice


def test_a_free_port_is_well() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert checks.node_or_port(Settings(zmq_bind=f"tcp://127.0.0.1:{port}"), nobody).state == OK


def test_a_node_of_another_cluster_is_told() -> None:
    def refused() -> Pong:
        raise WireError("cluster is 'a', this side belongs to 'b'")

    finding = checks.node_or_port(Settings(), refused)
    assert finding.state == WRONG
    assert "belongs to 'b'" in finding.found
    assert "CLUSTER_NAME" in finding.advice


def test_keys_are_looked_over(tmp_path: Path) -> None:
    assert checks.keys(Settings()).state == OK
    assert checks.keys(Settings(zmq_allow_plain=True)).state == NOTE
    on = Settings(data_dir=tmp_path, curve_enabled=True, node_id="n1")
    assert "zjp keys node makes the node's key" in checks.keys(on).advice
    make_folder(on.curve_folder)
    write_pair(on.curve_folder / "node.key", make_pair("n1"))
    assert "nobody else may connect" in checks.keys(on).found
    authorize(on.curve_folder / "authorized", Holder("web", KeyRole.PRODUCER, make_pair("web").public))
    assert checks.keys(on).state == OK
    assert "the key is of node n1, NODE_ID is n2" in checks.keys(dataclasses.replace(on, node_id="n2")).found
    (on.curve_folder / "node.key").chmod(0o644)
    assert "chmod 0600" in checks.keys(on).found
