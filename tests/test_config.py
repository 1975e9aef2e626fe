"""Settings: precedence, files, what is refused and how it is said, and the files generated from the table."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from zjp.balance import Balancer
from zjp.config import TABLE, Loaded, Settings, effective, inherited_environment, load
from zjp.config.__main__ import main
from zjp.config.docs import env_example, markdown
from zjp.config.kinds import is_loopback
from zjp.config.load import FILE_MAX_BYTES, _parse
from zjp.config.rules import JOB_BYTES_MAX, MONGODB_JOB_BYTES_MAX, broken_rules
from zjp.errors import ConfigError
from zjp.fault import MESSAGE_CHARS_MAX, TRACEBACK_CHARS_MAX
from zjp.job import ATTEMPTS_KEPT
from zjp.records.mongo.documents import DATA_BYTES_MAX
from zjp.wire.messages import MESSAGE_BYTES_MAX

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No zjp.toml lies in the current folder unless the test writes one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(environ: dict[str, str] | None = None, *, serves: bool = False, **flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, environ or {}, serves=serves)
    return str(caught.value)


def settings(**environ: str) -> Settings:
    return load({}, environ).settings


def test_nothing_given_means_the_defaults_of_the_table() -> None:
    loaded = load({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.covers("settings:precedence")
def test_flag_beats_prefixed_name_beats_bare_name_beats_file_beats_default(empty_folder: Path) -> None:
    (empty_folder / "zjp.toml").write_text("worker_count = 11")
    environ = {"WORKER_COUNT": "12", "ZJP_WORKER_COUNT": "13"}

    def seen(loaded: Loaded) -> tuple[int, str]:
        return loaded.settings.worker_count, loaded.origins["WORKER_COUNT"]

    assert seen(load({"WORKER_COUNT": "14"}, environ)) == (14, "flag --worker-count")
    assert seen(load({}, environ)) == (13, "environment ZJP_WORKER_COUNT")
    assert seen(load({}, {"WORKER_COUNT": "12"})) == (12, "environment WORKER_COUNT")
    assert seen(load({}, {})) == (11, "zjp.toml")
    (empty_folder / "zjp.toml").unlink()
    assert seen(load({}, {})) == (10, "default")


def test_flags_may_be_spelt_as_on_the_command_line() -> None:
    assert load({"lease-duration": "5s"}, {}).settings.lease_duration_s == 5


@pytest.mark.covers("settings:precedence")
def test_config_flag_names_the_file_and_then_the_current_folder_is_not_looked_at(empty_folder: Path) -> None:
    (empty_folder / "zjp.toml").write_text("crash_limit = 7")
    other = empty_folder / "other.toml"
    other.write_text('worker_count = 3\nlog-level = "debug"\nzmq_allow_plain = true\nqueues = ["a:2", "b"]')
    loaded = load({}, {}, other)
    assert loaded.settings == Settings(
        worker_count=3, log_level="debug", zmq_allow_plain=True, queues=(("a", 2), ("b", 1))
    )
    assert loaded.origins["WORKER_COUNT"] == str(other)


def test_file_that_is_missing_broken_or_huge_is_refused(empty_folder: Path) -> None:
    broken, huge = empty_folder / "broken.toml", empty_folder / "huge.toml"
    broken.write_text("worker_count = = 3")
    huge.write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    for path, reason in ((empty_folder / "none.toml", "No such file"), (broken, "line 1"), (huge, "more than 1048576")):
        with pytest.raises(ConfigError, match=reason):
            load({}, {}, path)


def test_file_value_that_is_no_plain_value_is_refused(empty_folder: Path) -> None:
    (empty_folder / "zjp.toml").write_text("[worker_count]\nfour = 4")
    assert "worker_count: a dict is not a value" in refusal()


@pytest.mark.covers("settings:unknown-names")
def test_unknown_prefixed_name_and_file_key_are_refused_with_the_nearest_name(empty_folder: Path) -> None:
    assert "ZJP_WORKR_COUNT: unknown setting; did you mean ZJP_WORKER_COUNT?" in refusal({"ZJP_WORKR_COUNT": "3"})
    (empty_folder / "zjp.toml").write_text("lease_time = 4")
    assert "LEASE_TIME: unknown setting; did you mean " in refusal()


def test_unknown_name_is_refused_even_when_it_is_empty() -> None:
    assert "ZJP_WORKR_COUNT" in refusal({"ZJP_WORKR_COUNT": ""})


@pytest.mark.covers("settings:unknown-names")
def test_what_kubernetes_sets_and_what_is_not_ours_is_ignored() -> None:
    environ = {
        "ZJP_PORT": "tcp://10.0.0.1:5570",
        "ZJP_PORT_5570_TCP_ADDR": "10.0.0.1",
        "ZJP_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
        "OTEL_SERVICE_NAME": "else",
    }
    assert load({}, environ).settings == Settings()


@pytest.mark.covers("settings:OTEL")
def test_tracing_variables_with_our_prefix_are_refused_with_the_right_name() -> None:
    assert "set OTEL_SERVICE_NAME in the environment (set by" in refusal({"ZJP_OTEL_SERVICE_NAME": "x"})


def test_empty_text_counts_as_not_set() -> None:
    assert load({}, {"REDIS_ADDR": "", "ZJP_WORKER_COUNT": " ", "WORKER_COUNT": "4"}).settings.worker_count == 4


@pytest.mark.covers("settings:bad-values", "main-path:2", "main-path:judged:6")
def test_one_message_lists_every_bad_setting_with_origin_value_and_what_is_accepted(empty_folder: Path) -> None:
    (empty_folder / "zjp.toml").write_text('retry_policy = "linear"')
    text = refusal({"ZJP_LEASE_DURATION": "1parsec", "MAX_RETRIES": "-1", "JWT_SECRET": "hunter\x012"}, WORKER_COUNT="ten")
    assert text.startswith("5 settings are wrong, nothing was started:\n")
    assert "WORKER_COUNT=ten: not a whole number (set by flag --worker-count; accepted: a whole number from 1" in text
    assert "LEASE_DURATION=1parsec: " in text
    assert "set by environment ZJP_LEASE_DURATION; accepted: a duration such as 250ms, 5s, 2m, 1h" in text
    assert "MAX_RETRIES=-1: below 0 (set by environment MAX_RETRIES; accepted: a whole number from 0 to" in text
    assert "RETRY_POLICY=linear: unknown choice (set by zjp.toml; accepted: exponential or fixed)" in text
    assert "JWT_SECRET=***: does not have the right form" in text
    assert "hunter" not in text


@pytest.mark.covers("settings:bad-values")
def test_bad_settings_have_the_exit_code_of_the_contract() -> None:
    assert ConfigError.exit_code == 78


def test_bad_value_cannot_forge_a_line_of_the_message() -> None:
    text = refusal({"ZJP_WORKER_COUNT": "1\n  LOG_LEVEL=info: fine\x1b[2J" + "x" * 1000})
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert len(text) < 500


@pytest.mark.covers("settings:not-available", "main-path:2")
@pytest.mark.parametrize(("name", "given", "shown"), [("SERVER_PORT", "8081", "8081"), ("REDIS_PASSWORD", "hunter2", "***")])
def test_setting_of_a_feature_that_does_not_exist_yet_is_refused_away_from_its_default(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, shown: str
) -> None:
    """Planted, here and below: in this version every setting has its feature."""
    plant_later(monkeypatch, name)
    assert f"{name}={shown}: not available in this version (set by environment {name};" in refusal({name: given})


@pytest.mark.covers("settings:not-available")
@pytest.mark.parametrize("name", ["SERVER_PORT", "REDIS_PASSWORD"])
def test_setting_of_a_feature_that_does_not_exist_yet_may_be_set_to_its_default(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plant_later(monkeypatch, name)
    text = "none" if TABLE[name].default is None else TABLE[name].default_text
    assert load({}, {name: text}).settings == Settings()


def plant_later(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys.modules["zjp.config.load"], "TABLE", {**TABLE, name: dataclasses.replace(TABLE[name], later=True)})


def test_every_setting_has_its_feature_in_this_version() -> None:
    assert not [name for name, row in TABLE.items() if row.later]


@pytest.mark.covers("settings:not-available")
def test_what_there_is_none_of_may_be_switched_off() -> None:
    row = dataclasses.replace(TABLE["API_ENABLED"], later=True, also=(False,))
    assert (_parse(row, "true"), _parse(row, "false")) == (True, False)
    row = dataclasses.replace(TABLE["SERVER_PORT"], later=True)
    assert _parse(row, "8080") == 8080
    for text in ("80", "many"):
        with pytest.raises(ValueError, match=r"^not available in this version$"):
            _parse(row, text)


def test_records_stay_for_a_week_and_in_redis_for_a_day_unless_told_otherwise() -> None:
    assert settings().records_ttl_effective_s == 7 * 86400
    assert settings(REDIS_ADDR="redis:6379").records_ttl_effective_s == 86400
    assert settings(REDIS_ADDR="redis:6379", MONGODB_URI="mongodb://db").records_ttl_effective_s == 7 * 86400
    assert settings(REDIS_ADDR="redis:6379", RECORDS_TTL="7d").records_ttl_effective_s == 7 * 86400
    assert settings(RECORDS_TTL="0").records_ttl_effective_s == 0


@pytest.mark.covers("settings:CLUSTER_SEEDS", "settings:CLUSTER_SIZE")
@pytest.mark.parametrize(("name", "value"), [("CLUSTER_SEEDS", "tcp://10.0.0.1:5570"), ("CLUSTER_SIZE", "3")])
def test_nodes_without_a_common_queue_are_refused_by_name(name: str, value: str) -> None:
    text = refusal({name: value})
    assert f"{name}={value}: nodes need a common queue: set REDIS_ADDR" in text


@pytest.mark.covers("settings:MONGODB_URI")
@pytest.mark.parametrize("uri", ["db:27017", "http://db:27017", "mongodb:/db", "mongodb://"])
def test_address_of_no_mongodb_is_listed_with_all_that_is_wrong_and_not_shown(uri: str) -> None:
    """Fails where the driver's part of the start is the first to look: then it is told alone, after everything else was right."""
    text = refusal({"MONGODB_URI": uri, "WORKER_COUNT": "x"})
    assert "MONGODB_URI=***: does not have the right form (set by environment MONGODB_URI; accepted: mongodb:// or mongodb+srv://" in text
    assert "WORKER_COUNT=x" in text


@pytest.mark.covers("settings:CLUSTER_SEEDS", "settings:CLUSTER_SIZE", "settings:NODE_PRIORITY")
def test_voters_are_the_seeds_and_this_node_unless_a_number_is_given() -> None:
    shared = {"REDIS_ADDR": "redis:6379"}
    seeds = {"CLUSTER_SEEDS": "tcp://10.0.0.1:5570,tcp://10.0.0.2:5570"}
    assert (settings(**shared).cluster_size_effective, settings(**shared).is_meshed) == (1, False)
    assert (settings(**shared, **seeds).cluster_size_effective, settings(**shared, **seeds).is_meshed) == (3, True)
    assert settings(**shared, **seeds, CLUSTER_SIZE="5").cluster_size_effective == 5
    assert settings(**shared, CLUSTER_SIZE="3").is_meshed
    assert settings(NODE_PRIORITY="7").node_priority == 7


@pytest.mark.covers("settings:CLUSTER_SIZE")
@pytest.mark.parametrize(
    ("seeds", "size"),
    [
        ("tcp://b:1,tcp://c:1", 3),
        ("tcp://a:1,tcp://b:1,tcp://c:1", 3),
        ("tcp://127.0.0.1:5570,tcp://b:1,tcp://c:1", 3),
        ("tcp://a:1,tcp://127.0.0.1:5570,tcp://b:1,tcp://b:1, tcp://c:1", 3),
        ("tcp://a:1", 2),
    ],
    ids=["the-others", "all", "all-by-bind", "doubles", "itself-alone"],
)
def test_own_address_and_doubles_among_the_seeds_are_no_voters_more(seeds: str, size: int) -> None:
    """The same list everywhere names each node to itself. Fails on a model that counts addresses: one less form no cluster."""
    told = settings(REDIS_ADDR="redis:6379", ZMQ_ADVERTISE="tcp://a:1", CLUSTER_SEEDS=seeds)
    assert told.cluster_size_effective == size


@pytest.mark.covers("settings:CLUSTER_SEEDS")
@pytest.mark.parametrize("seeds", ["http://node-1:8080", "tcp://node-1:5570,https://node-2"])
def test_seeds_are_addresses_that_nodes_speak_to(seeds: str) -> None:
    text = refusal({"CLUSTER_SEEDS": seeds, "REDIS_ADDR": "redis:6379"})
    assert f"CLUSTER_SEEDS={seeds}: names an HTTP address; nodes speak ZeroMQ to one another" in text
    assert "accepted: one or more of tcp://HOST:PORT or ipc://PATH" in text


@pytest.mark.covers("settings:CLUSTER_SEEDS", "settings:ZMQ_ADVERTISE")
@pytest.mark.parametrize("name", ["node..internal", ".internal", "a" * 64, "\u00e4" * 63])
@pytest.mark.parametrize("setting", ["CLUSTER_SEEDS", "ZMQ_ADVERTISE", "CLIENT_ADDRESS"])
def test_name_that_no_name_server_takes_is_refused(setting: str, name: str) -> None:
    text = refusal({setting: f"tcp://{name}:5570", "REDIS_ADDR": "redis:6379"})
    assert "has a part between its dots that is empty or above 63 characters" in text


@pytest.mark.covers("settings:ZMQ_ADVERTISE")
@pytest.mark.parametrize("name", ["node-1.internal", "node-1.internal.", "a" * 63, "n\u00f6de", "[fe80::1]", "10.0.0.1", "a_b"])
def test_name_that_a_name_server_may_know_is_taken(name: str) -> None:
    assert settings(ZMQ_ADVERTISE=f"tcp://{name}:5570").zmq_advertise == f"tcp://{name}:5570"


@pytest.mark.covers("settings:ELECTION_ALGORITHM", "settings:ELECTION_TIMEOUT", "settings:ELECTION_INTERVAL")
def test_times_of_elections_go_by_the_algorithm_and_the_interval_is_a_quarter_of_the_timeout_at_most() -> None:
    for algorithm, times in (("bully", (0.5, 0.1)), ("raft", (0.5, 0.1)), ("gossip", (2.0, 0.5))):
        assert settings(ELECTION_ALGORITHM=algorithm).election_times_s == times
    for algorithm, timeout, interval, times in (
        ("bully", "10s", "30s", (10.0, 2.5)), ("raft", "5s", "2s", (5.0, 1.25)), ("gossip", "15s", "1s", (15.0, 1.0)),
    ):  # fmt: skip
        told = settings(ELECTION_ALGORITHM=algorithm, ELECTION_TIMEOUT=timeout, ELECTION_INTERVAL=interval)
        assert told.election_times_s == times


@pytest.mark.covers("settings:ZMQ_ADVERTISE")
def test_a_node_that_others_must_dial_names_an_address_that_can_be_dialled() -> None:
    shared = {"REDIS_ADDR": "redis:6379", "CLUSTER_SIZE": "3", "ZMQ_ALLOW_PLAIN": "true"}
    text = refusal({**shared, "ZMQ_BIND": "tcp://0.0.0.0:5570"})
    assert "ZMQ_BIND=tcp://0.0.0.0:5570: all interfaces is no address that other nodes can dial" in text
    told = settings(**shared, ZMQ_BIND="tcp://0.0.0.0:5570", ZMQ_ADVERTISE="tcp://10.0.0.1:5570")
    assert told.advertise_address == "tcp://10.0.0.1:5570"


@pytest.mark.covers("settings:ZMQ_ALLOW_PLAIN")
@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5570", "tcp://*:5570", "tcp://10.1.2.3:5570", "tcp://[::]:5570"])
def test_plain_bind_that_others_can_reach_needs_to_be_allowed(address: str) -> None:
    text = refusal({"ZMQ_BIND": address})
    assert f"ZMQ_BIND={address}: not a loopback address and CURVE is off" in text
    assert "CURVE_ENABLED=true, or ZMQ_ALLOW_PLAIN=true" in text
    assert settings(ZMQ_BIND=address, ZMQ_ALLOW_PLAIN="true").zmq_bind == address
    assert settings(ZMQ_BIND=address, CURVE_ENABLED="true").zmq_bind == address


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:*", "tcp://127.8.8.8:1", "tcp://[::1]:5570", "tcp://localhost:5570", "ipc:///run/zjp"]
)
def test_bind_that_only_this_machine_can_reach_needs_nothing(address: str) -> None:
    assert is_loopback(address)
    assert settings(ZMQ_BIND=address).zmq_bind == address


def test_host_that_only_looks_like_loopback_is_not() -> None:
    assert not is_loopback("tcp://localhost.example.com:5570")
    assert not is_loopback("tcp://127.0.0.1.example.com:5570")


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"RETRY_BASE_DELAY": "2m"}, "RETRY_BASE_DELAY=2m: above RETRY_MAX_DELAY=1m"),
        ({"SOFT_TIMEOUT": "1h"}, "SOFT_TIMEOUT=1h: above JOB_TIMEOUT=30m"),
        ({"WORKER_PROCESSES": "4", "WORKER_COUNT": "2"}, "WORKER_PROCESSES=4: above WORKER_COUNT=2"),
        ({"RECORDS_TTL": "5m"}, "RECORDS_TTL=5m: below DEDUP_WINDOW=10m, a repeated submit"),
        ({"DEDUP_WINDOW": "1d", "RECORDS_TTL": "1h"}, "accepted: DEDUP_WINDOW or more, or 0)"),
        ({"MAX_PAYLOAD": "16MiB", "MAX_RESULT": "2MiB"}, "MAX_PAYLOAD=16MiB and MAX_RESULT=2MiB: more than 17MiB together"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], reason: str) -> None:
    assert reason in refusal(environ)


@pytest.mark.parametrize(
    "environ", [{"RECORDS_TTL": "0"}, {"RECORDS_TTL": "10m"}, {"MAX_PAYLOAD": "16MiB"}, {"MAX_RESULT": "16MiB"}]
)
def test_settings_at_their_common_limit_are_taken(environ: dict[str, str]) -> None:
    settings(**environ)


def test_payload_result_and_attempts_of_one_job_fit_where_they_must() -> None:
    """100 attempts with the longest message and traceback that a worker tells, in plain ASCII."""
    attempts_bytes = ATTEMPTS_KEPT * (MESSAGE_CHARS_MAX + TRACEBACK_CHARS_MAX + 512)
    assert JOB_BYTES_MAX + attempts_bytes < MESSAGE_BYTES_MAX
    assert MONGODB_JOB_BYTES_MAX + attempts_bytes < DATA_BYTES_MAX


def test_records_in_mongodb_leave_less_room_for_payload_and_result() -> None:
    origins = dict.fromkeys(TABLE, "default")
    limits = {"max_payload_bytes": 7 << 20, "max_result_bytes": 7 << 20}
    assert not any(broken_rules(Settings(**limits), origins))
    (text,) = filter(None, broken_rules(Settings(mongodb_uri="mongodb://db", **limits), origins))
    assert "MAX_PAYLOAD=7MiB and MAX_RESULT=7MiB: more than 13MiB together, a record in MongoDB holds both" in text


@pytest.mark.covers("settings:formats")
@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LEASE_DURATION", "2500ms", 2.5),
        ("SHUTDOWN_GRACE", "45", 45.0),
        ("RECORDS_TTL", "0", 0.0),
        ("MAX_PAYLOAD", "64KiB", 65536),
        ("ZMQ_ALLOW_PLAIN", "YES", True),
        ("ZMQ_ALLOW_PLAIN", "off", False),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("QUEUES", "critical:6, default:3,low", (("critical", 6), ("default", 3), ("low", 1))),
        ("QUEUES", "*", (("*", 1),)),
        ("APP", "examples.tasks:app", "examples.tasks:app"),
        ("SOFT_TIMEOUT", "none", None),
        ("RETRY_MULTIPLIER", "1.5", 1.5),
        ("CLIENT_ADDRESS", "tcp://a:1, ipc:///x", ("tcp://a:1", "ipc:///x")),
        ("REQUIRE_DURABILITY", "none", "none"),
    ],
)
def test_text_of_each_kind_is_read(name: str, text: str, value: object) -> None:
    assert getattr(settings(**{name: text}), TABLE[name].field) == value


@pytest.mark.covers("settings:formats", "settings:bad-values")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LEASE_DURATION", "1s"),
        ("LEASE_DURATION", "nan"),
        ("MAX_PAYLOAD", "1TiB"),
        ("MAX_PAYLOAD", "-1"),
        ("ZMQ_ALLOW_PLAIN", "maybe"),
        ("WORKER_COUNT", "0"),
        ("WORKER_COUNT", "1e3"),
        ("WORKER_COUNT", "٣"),
        ("QUEUES", "a:0"),
        ("QUEUES", "a,a"),
        ("QUEUES", "*,a"),
        ("QUEUES", "*:2"),
        ("QUEUES", "a b"),
        ("QUEUES", ","),
        ("APP", "examples.tasks"),
        ("APP", "os:system('x')"),
        ("ZMQ_BIND", "127.0.0.1:5570"),
        ("ZMQ_BIND", "tcp://127.0.0.1:70000"),
        ("ZMQ_BIND", "ipc://" + "x" * 108),
        ("CLIENT_ADDRESS", "ftp://localhost:8080"),
        ("CLIENT_ADDRESS", "http://localhost:8080,tcp://localhost:5570"),
        ("RETRY_JITTER_FACTOR", "1.5"),
        ("NODE_ID", "a/b"),
        ("WORKER_COUNT", "none"),
    ],
)
def test_text_that_does_not_fit_is_refused_with_what_does(name: str, text: str) -> None:
    message = refusal({name: text})
    assert message.startswith(f"1 setting is wrong, nothing was started:\n  {name}=")
    assert f"accepted: {TABLE[name].kind.accepted})" in message


@pytest.mark.covers("settings:secret-files")
def test_secret_may_come_from_a_file_and_is_never_shown(empty_folder: Path) -> None:
    secret = empty_folder / "password"
    secret.write_text("hunter2\n")
    assert settings(ZJP_REDIS_PASSWORD_FILE=str(secret)).redis_password == "hunter2"
    text = refusal({"ZJP_JWT_SECRET_FILE": str(secret), "AUTH_ENABLED": "true"}, serves=True)
    assert f"JWT_SECRET=***: a secret of 7 bytes; make one with: openssl rand -base64 48 (set by file {secret} " in text
    assert "hunter2" not in text


def test_secret_given_twice_or_from_a_file_that_is_not_there_is_refused() -> None:
    assert "both set" in refusal({"JWT_SECRET": "x", "JWT_SECRET_FILE": "/x"})
    assert "JWT_SECRET_FILE=/nowhere/x: cannot be read" in refusal({"JWT_SECRET_FILE": "/nowhere/x"})


def test_setting_that_is_no_secret_has_no_file_form() -> None:
    assert "ZJP_WORKER_COUNT_FILE: unknown setting" in refusal({"ZJP_WORKER_COUNT_FILE": "/x"})


@pytest.mark.covers("settings:origins")
def test_effective_settings_show_derived_values_origins_and_no_secrets() -> None:
    rows = {name: (value, origin) for name, value, origin in effective(load({}, {"ZJP_ZMQ_BIND": "tcp://127.0.0.1:7"}))}
    assert list(rows) == list(TABLE)
    assert rows["ZMQ_BIND"] == ("tcp://127.0.0.1:7", "environment ZJP_ZMQ_BIND")
    assert rows["ZMQ_ADVERTISE"] == ("tcp://127.0.0.1:7", "default")
    assert rows["ELECTION_TIMEOUT"] == ("500ms", "default")
    assert rows["LEASE_DURATION"] == ("15s", "default")
    assert TABLE["JWT_SECRET"].show("hunter2") == "***"


@pytest.mark.covers("cluster:seen")
def test_interval_above_a_quarter_of_the_timeout_is_lowered_and_both_are_shown() -> None:
    loaded = load({}, {"ELECTION_TIMEOUT": "10s", "ELECTION_INTERVAL": "30s"})
    rows = {name: value for name, value, _ in effective(loaded)}
    assert (rows["ELECTION_TIMEOUT"], rows["ELECTION_INTERVAL"]) == ("10s", "30s, lowered to 2500ms")
    assert loaded.settings.is_interval_lowered
    short = load({}, {"ELECTION_TIMEOUT": "100ms"})
    assert {name: value for name, value, _ in effective(short)}["ELECTION_INTERVAL"] == "25ms"
    assert not short.settings.is_interval_lowered  # nobody asked for more
    assert not settings(ELECTION_TIMEOUT="4s", ELECTION_INTERVAL="1s").is_interval_lowered


@pytest.mark.covers("settings:EVENTS_TTL")
def test_events_stay_for_90_days_unless_told_otherwise() -> None:
    assert (settings().events_ttl_s, settings(EVENTS_TTL="1d").events_ttl_s) == (90 * 86400, 86400)


def test_children_inherit_everything_but_our_secrets() -> None:
    environ = {"PATH": "/bin", "ZJP_JWT_SECRET": "x", "REDIS_PASSWORD_FILE": "/x", "MONGODB_URI": "x", "LOG_LEVEL": "info"}
    assert inherited_environment(environ) == {"PATH": "/bin", "LOG_LEVEL": "info"}


def test_every_default_survives_being_shown_and_read_again() -> None:
    for row in TABLE.values():
        if row.default is not None and not row.secret:
            assert row.kind.parse(row.show(row.default)) == row.default, row.name


def test_worker_processes_never_outnumber_the_slots() -> None:
    assert Settings(worker_count=1).process_count == 1
    assert Settings(worker_count=8, worker_processes=3).process_count == 3


def test_every_field_of_settings_is_a_row_named_like_it() -> None:
    for field in dataclasses.fields(Settings):
        row = TABLE[field.metadata["name"]]
        assert field.name in (row.name.lower(), f"{row.name.lower()}_s", f"{row.name.lower()}_bytes")


def test_strategies_of_the_setting_are_those_of_the_balancer() -> None:
    assert set(TABLE["LOAD_BALANCER_STRATEGY"].kind.accepted.replace(" or ", ", ").split(", ")) == set(
        Balancer.STRATEGIES
    )


@pytest.mark.covers("settings:generated-docs", "main-path:2")
@pytest.mark.parametrize(("path", "write"), [(".env.example", env_example), ("docs/settings.md", markdown)])
def test_generated_file_is_up_to_date(path: str, write: object) -> None:
    assert callable(write)
    assert (ROOT / path).read_text() == write(), f"run make docs to write {path} again"


@pytest.mark.covers("settings:generated-docs")
def test_env_example_is_accepted_when_its_lines_are_used() -> None:
    lines = [line[1:] for line in env_example().splitlines() if line.startswith("#") and not line.startswith("# ")]
    environ = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert load({}, environ).settings == Settings()
    assert len(environ) == sum(not row.later for row in TABLE.values())


def test_generator_prints_one_of_its_files_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    assert capsys.readouterr().out == env_example()
    assert main([]) == 2
    assert "env|markdown" in capsys.readouterr().err
