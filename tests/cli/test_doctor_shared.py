"""What the doctor finds in shared stores, disks, ports, the API's settings, voters and waiting jobs, and what it says to do."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.redis import start_redis
from tests.system.running import RunningNode
from zjp.cli import check_doors, check_stores
from zjp.cli.checks import NOTE, OK, WRONG, Finding
from zjp.config import TABLE, Settings
from zjp.transport.curve import make_pair, write_pair

pytestmark = pytest.mark.covers("cli:doctor")

ORIGINS = dict.fromkeys(TABLE, "default")
GOOD_SECRET = "f3Qz8-kP1wLr7XcV0bNm5tYh2sJd9aGe4uRo6iTp"


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


# ── stores ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_redis_that_syncs_is_well_and_its_clock_is_compared() -> None:
    server = start_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    try:
        found = by_name(check_stores.shared_stores(Settings(redis_addr=server.url)))
    finally:
        server.stop()
    assert found["redis"].state == OK
    assert "disk-1s" in found["redis"].found
    assert found["store clock"].state == OK


def test_redis_without_its_append_only_file_is_noted_and_one_that_evicts_is_wrong() -> None:
    server = start_redis(options={"appendonly": "no"})
    try:
        off = by_name(check_stores.shared_stores(Settings(redis_addr=server.url)))["redis"]
        server.send(b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru")
        evicts = by_name(check_stores.shared_stores(Settings(redis_addr=server.url)))["redis"]
        server.send(b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction")
        server.send(b"CONFIG", b"SET", b"proto-max-bulk-len", b"3mb")
        narrow = by_name(check_stores.shared_stores(Settings(redis_addr=server.url)))["redis"]
    finally:
        server.stop()
    assert (off.state, "has appendonly no" in off.found, "appendonly yes" in off.advice) == (NOTE, True, True)
    assert (evicts.state, "noeviction" in evicts.found) == (WRONG, True)
    assert (narrow.state, "proto-max-bulk-len" in narrow.found) == (WRONG, True)


def test_redis_that_does_not_answer_is_wrong() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        (finding,) = check_stores.shared_stores(Settings(redis_addr=address))
    assert finding.state == WRONG
    assert "does not answer" in finding.found
    assert "REDIS_ADDR" in finding.advice


@pytest.mark.parametrize(("off_s", "state"), [(0.2, OK), (-3.0, NOTE), (60.0, WRONG)])
def test_clocks_that_differ_are_told_with_which_is_ahead(off_s: float, state: str) -> None:
    finding = check_stores._skew(1000.0, 1000.0 + off_s)
    assert finding.state == state
    if state != OK:
        assert f"{abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} Redis" in finding.found
        assert "run this on each node" in finding.advice


def test_mongodb_that_does_not_answer_is_wrong_and_its_password_is_not_told() -> None:
    uri = "mongodb://ann:hidden@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    (finding,) = check_stores.shared_stores(Settings(mongodb_uri=uri, mongodb_timeout_s=0.2))
    assert finding.state == WRONG
    assert "hidden" not in finding.found
    assert "outbox" in finding.advice


MOUNTED = """\
22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 22 0:30 / /mnt/team\\040disk rw - nfs4 server:/x rw
31 22 0:31 / /run/fast rw - tmpfs tmpfs rw
32 30 0:32 / /mnt/team\\040disk/own rw - xfs /dev/vdb rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "state", "kind"),
    [("/srv/zjp", OK, "ext4"), ("/mnt/team disk/zjp", WRONG, "nfs4"), ("/run/fast", NOTE, "tmpfs"), ("/mnt/team disk/own/a", OK, "xfs")],
)
def test_disk_below_the_data_folder_is_named(tmp_path: Path, folder: str, state: str, kind: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTED)
    finding = check_stores.file_system(Settings(data_dir=Path(folder)), tmp_path / "mounts")
    assert finding.state == state
    assert kind in finding.found
    assert (finding.advice == "") == (state == OK)


# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def api_of(settings: Settings) -> dict[str, Finding]:
    return by_name(check_doors.api(settings, ORIGINS))


def test_api_that_is_open_to_others_without_auth_is_wrong() -> None:
    finding = api_of(Settings(server_host="0.0.0.0", auth_enabled="false"))["api"]
    assert finding.state == WRONG
    assert "whoever reaches it may do everything" in finding.found
    assert "AUTH_ENABLED=true" in finding.advice


@pytest.mark.parametrize("secret", [None, "short", "change-me-this-is-an-example-secret-of-many-words", "ab" * 20])
def test_api_with_a_missing_or_weak_secret_is_wrong_and_the_secret_is_not_told(secret: str | None) -> None:
    finding = api_of(Settings(server_host="0.0.0.0", jwt_secret=secret))["api"]
    assert finding.state == WRONG
    assert "JWT_SECRET" in finding.found
    assert secret is None or secret not in finding.found


def test_api_with_auth_and_without_tls_is_noted() -> None:
    found = api_of(Settings(server_host="0.0.0.0", jwt_secret=GOOD_SECRET))
    assert found["api"].state == OK
    assert found["tls"].state == NOTE
    assert "tls" not in api_of(Settings())
    assert api_of(Settings(api_enabled=False))["api"].state == OK


def test_users_with_known_passwords_are_noted() -> None:
    finding = api_of(Settings(auth_enabled="true", jwt_secret=GOOD_SECRET, auth_dev_users=True))["api"]
    assert finding.state == NOTE
    assert "zjp users add" in finding.advice


@contextmanager
def server_saying(body: bytes) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("body", "state", "told"),
    [
        (b"# HELP zjp_build_info ...", OK, "zjp answers"),
        (b"<title>Prometheus Time Series</title>", WRONG, "Prometheus itself has it"),
        (b"hello", WRONG, "something else has it"),
    ],
)
def test_metrics_port_that_is_taken_is_told_with_who_has_it(body: bytes, state: str, told: str) -> None:
    with server_saying(body) as port:
        found = by_name(check_doors.ports(Settings(server_port=0, metrics_port=port)))["metrics port"]
    assert found.state == state
    assert told in found.found
    assert state == OK or "METRICS_PORT" in found.advice


def test_http_port_that_is_taken_by_what_speaks_no_http_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(server_port=other.getsockname()[1], metrics_enabled=False)
        threading.Thread(target=lambda: other.accept()[0].close()).start()
        found = by_name(check_doors.ports(settings))
    assert (found["http port"].state, list(found)) == (WRONG, ["http port"])


# ── keys, voters, waiting jobs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_keys_of_the_client_are_looked_over(tmp_path: Path) -> None:
    key, server = tmp_path / "web.key", make_pair("n1").public.hex()
    write_pair(key, make_pair("web"))
    assert check_doors.client_keys(Settings()).state == OK
    assert check_doors.client_keys(Settings(client_key_file=key, client_server_key=server)).state == OK
    alone = check_doors.client_keys(Settings(client_key_file=key))
    assert (alone.state, "CLIENT_SERVER_KEY is not" in alone.found) == (WRONG, True)
    key.chmod(0o644)
    read_by_others = check_doors.client_keys(Settings(client_key_file=key, client_server_key=server))
    assert (read_by_others.state, "chmod 0600" in read_by_others.found) == (WRONG, True)


@pytest.mark.parametrize(
    ("size", "algorithm", "state"), [(2, "raft", NOTE), (2, "bully", OK), (3, "raft", OK), (4, "gossip", NOTE), (5, "bully", OK)]
)
def test_an_even_number_of_voters_is_noted(size: int, algorithm: str, state: str) -> None:
    (finding,) = check_doors.voters(Settings(cluster_size=size, redis_addr="x:1", election_algorithm=algorithm))
    assert finding.state == state
    assert not list(check_doors.voters(Settings()))


@pytest.mark.system
def test_waiting_jobs_of_a_type_that_nobody_serves_are_wrong(tmp_path: Path, zjp: Run) -> None:
    with RunningNode(tmp_path, app="tests.cli.node_tasks:app", worker_processes=1, worker_count=1, api_enabled=False) as node:
        with node.client() as client:
            client.pause("default")
            client.submit("echo")
            served = check_doors.unserved(client)
            client.submit("emial")
            finding = check_doors.unserved(client)
        told = zjp("--address", node.address, "doctor", "--json")
    assert served.state == OK
    assert finding.state == WRONG
    assert "no node serves 'emial'" in finding.found
    assert "echo" in finding.found
    whole = {one["what"]: one for one in json.loads(told.stdout)}
    assert whole["waiting jobs"]["state"] == WRONG
    assert told.exit_code == 1


def test_settings_of_the_api_are_checked_by_the_whole_doctor(zjp: Run) -> None:
    env = {"ZJP_ZMQ_BIND": "tcp://127.0.0.1:*", "ZJP_SERVER_HOST": "0.0.0.0", "ZJP_SERVER_PORT": "0", "ZJP_METRICS_PORT": "0"}
    told = zjp("doctor", env=env)
    assert told.exit_code == 1
    assert "openssl rand" in told.stdout
