"""The settings table: every setting once, as a field of the frozen `Settings`.

A row is `row(NAME, kind, default, meaning)`; the field's name is the setting's in lower case with the unit last
(`LEASE_DURATION` -> `lease_duration_s`). `.env.example`, `docs/settings.md`, the flags of the node, `zjp config` and all
checks come from here. Reading flags, environment and files is `zjp.config.load`; this file looks at nothing outside.

`later=True`: the feature is not in this version. Such a setting is refused when it is set to anything but its default (or
one of `also`, the values that say the same as its absence): accepted and ignored would be a lie.

`Settings()` holds the defaults, so `Settings(worker_count=2)` is a complete configuration.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zjp.config.kinds import (
    Address,
    Addresses,
    Choice,
    Duration,
    Flag,
    Folder,
    Kind,
    Networks,
    Number,
    Queues,
    Seeds,
    Size,
    Text,
    Whole,
    is_loopback_host,
)
from zjp.config.redis_address import RedisUrl

_DAY_S = 86400.0
_YEAR_S = 365 * _DAY_S
_MIB, _GIB, _TIB = 2**20, 2**30, 2**40

_NAME = Text("letters, digits, _ . - (begins with a letter or digit, up to 64)", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TEXT = Text("text in one line")
_MONGODB = Text("mongodb:// or mongodb+srv:// and what follows, in one line", r"mongodb(\+srv)?://[^\x00-\x1f\x7f]{1,4096}")
_HOST = Text("a host name or IP address", r"[A-Za-z0-9_.:%\[\]*-]{1,253}")
_PORT = Whole(0, 65535)
_MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str
    field: str
    kind: Kind
    default: Any
    """The parsed default; None when the setting is unset by default."""
    default_text: str
    """How the default reads in the docs."""
    meaning: str
    group: str
    secret: bool
    later: bool
    also: tuple[Any, ...]

    def show(self, value: Any) -> str:
        """The value as text that parses back to it; secrets masked."""
        if value is None:
            return "none"
        return "***" if self.secret else self.kind.show(value)


class _Group:
    """Makes the rows of one chapter of the docs."""

    def __init__(self, title: str, *, later: bool = False) -> None:
        self._title = title
        self._later = later

    def row(self, name: str, kind: Kind, default: str | None, meaning: str, **column: Any) -> Any:
        """A field of `Settings`. `default`: text as a user would write it, None for unset.

        Columns: `secret`, `later`, `also` (texts), `default_text` (docs only, where the default is computed).
        """
        value = None if default is None else kind.parse(default)
        metadata = {
            "name": name,
            "kind": kind,
            "default": value,
            "default_text": column.get("default_text", "none" if default is None else default),
            "meaning": meaning,
            "group": self._title,
            "secret": column.get("secret", False),
            "later": column.get("later", self._later),
            "also": tuple(kind.parse(text) for text in column.get("also", ())),
        }
        return dataclasses.field(default=value, metadata=metadata)


_node = _Group("Node")
_workers = _Group("Workers")
_storage = _Group("Storage")
_jobs = _Group("Jobs and limits")
_retry = _Group("Retries and time-outs")
_network = _Group("Network")
_log = _Group("Logging")
_shared = _Group("Shared stores")
_cluster = _Group("Cluster and election")
_http = _Group("HTTP API")
_metrics = _Group("Metrics")

ELECTION_DEFAULTS_S: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"bully": (0.5, 0.1), "raft": (0.5, 0.1), "gossip": (2.0, 0.5)}
)
"""Algorithm -> (timeout, interval) when the settings are unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings of one process. Made by `zjp.config.load`, or directly in tests."""

    node_id: str | None = _node.row(
        "NODE_ID", _NAME, None, "Unique name of the node.", default_text="made once, kept in DATA_DIR"
    )
    app: str | None = _node.row(
        "APP",
        Text("module:app", rf"{_MODULE}:[A-Za-z_]\w*"),
        None,
        "The App with the tasks (also --app); the current folder is on the path. Without it the node claims no jobs.",
    )
    queues: tuple[tuple[str, int], ...] = _node.row(
        "QUEUES",
        Queues(),
        "default",
        "Queues this node serves; weights share the claims. * serves all known queues with weight 1.",
    )
    shutdown_grace_s: float = _node.row(
        "SHUTDOWN_GRACE",
        Duration(0, _DAY_S),
        "30s",
        "After SIGTERM running jobs may finish for so long, then they are handed back without spending an attempt.",
    )

    worker_count: int = _workers.row("WORKER_COUNT", Whole(1, 10_000), "10", "Jobs that may run at once on this node.")
    worker_processes: int | None = _workers.row(
        "WORKER_PROCESSES",
        Whole(1, 1024),
        None,
        "Worker processes that share the slots; each needs one.",
        default_text="number of CPUs, at most WORKER_COUNT",
    )
    worker_max_jobs: int = _workers.row(
        "WORKER_MAX_JOBS", Whole(0, 10**12), "0", "Replace a worker process after so many jobs (0: never)."
    )
    worker_max_rss_bytes: int = _workers.row(
        "WORKER_MAX_RSS", Size(0, 64 * _TIB), "0", "Replace a worker process that uses more memory (0: never)."
    )
    load_balancer_strategy: str = _workers.row(
        "LOAD_BALANCER_STRATEGY",
        Choice(("round_robin", "least_loaded", "random", "priority")),
        "round_robin",
        "How jobs are spread over the worker processes that have room: in turn; to the one with most room; at random; "
        "jobs of priority 8 and more to the one with most room, the others in turn.",
    )
    crash_limit: int = _workers.row(
        "CRASH_LIMIT", Whole(1, 100), "3", "Crashes of one job before it is failed as WorkerCrashed."
    )
    cancel_grace_s: float = _workers.row(
        "CANCEL_GRACE", Duration(0, 3600), "5s", "Time between telling a cancelled job to stop and killing it."
    )

    data_dir: Path = _storage.row(
        "DATA_DIR",
        Folder(),
        "./zjp-data",
        "Folder of the embedded database and the node's identity; made with mode 0700.",
    )
    records_ttl_s: float | None = _storage.row(
        "RECORDS_TTL",
        Duration(0, 100 * _YEAR_S),
        None,
        "How long finished jobs stay in the records (0: for ever); not less than DEDUP_WINDOW.",
        default_text="7d, in Redis 24h",
    )
    outbox_max: int = _storage.row(
        "OUTBOX_MAX",
        Whole(1, 10**9),
        "1000000",
        "Finished jobs that may wait for the records; beyond it nodes stop claiming and submits are refused.",
    )
    outbox_max_bytes: int = _storage.row(
        "OUTBOX_MAX_BYTES", Size(_MIB, _TIB), "256MiB", "The same limit in bytes; whichever is reached first counts."
    )
    disk_reserve_bytes: int = _storage.row(
        "DISK_RESERVE", Size(0, _TIB), "64MiB", "Free disk space below which submits are refused; running jobs finish."
    )
    require_durability: str = _storage.row(
        "REQUIRE_DURABILITY",
        Choice(("none", "process", "disk-1s", "disk", "replica")),
        "none",
        "Refuse to start on a store that promises less than this for an acknowledged submit.",
    )

    max_payload_bytes: int = _jobs.row(
        "MAX_PAYLOAD", Size(1, 16 * _MIB), "1MiB", "Largest payload of one job; together with MAX_RESULT up to 17MiB."
    )
    max_result_bytes: int = _jobs.row(
        "MAX_RESULT", Size(1, 16 * _MIB), "1MiB", "Largest result of one job; a larger one fails it without retry."
    )
    dedup_window_s: float = _jobs.row(
        "DEDUP_WINDOW",
        Duration(1, _DAY_S),
        "10m",
        "A repeated submit is recognised for so long, also after the job has finished (24h for ids and keys made by "
        "the caller). Clients repeat a submit for 10s, and for 10m at most where they are given longer deadlines: with a window below "
        "10m, give them deadlines well within it.",
    )
    lease_duration_s: float = _jobs.row(
        "LEASE_DURATION", Duration(2, 3600), "15s", "A node silent for so long loses its running jobs to the others."
    )
    starvation_limit_s: float = _jobs.row(
        "STARVATION_LIMIT",
        Duration(1, _DAY_S),
        "60s",
        "A priority level that has jobs and was not served for so long gets one claim in 16 until it is.",
    )

    retry_policy: str = _retry.row(
        "RETRY_POLICY", Choice(("exponential", "fixed")), "exponential", "How the delay grows; a task may set its own."
    )
    max_retries: int = _retry.row(
        "MAX_RETRIES", Whole(0, 1000), "3", "Retries of a job that raises (0: none); a task or job may set its own."
    )
    retry_base_delay_s: float = _retry.row(
        "RETRY_BASE_DELAY", Duration(0, _YEAR_S), "1s", "Delay before the first retry."
    )
    retry_max_delay_s: float = _retry.row(
        "RETRY_MAX_DELAY", Duration(0, _YEAR_S), "60s", "No delay is longer than this."
    )
    retry_multiplier: float = _retry.row(
        "RETRY_MULTIPLIER", Number(1, 1000), "2.0", "Each exponential delay is so many times the one before."
    )
    retry_jitter_factor: float = _retry.row(
        "RETRY_JITTER_FACTOR", Number(0, 1), "0.1", "Delays are spread by up to this share, both ways."
    )
    job_timeout_s: float = _retry.row(
        "JOB_TIMEOUT", Duration(0.001, _YEAR_S), "30m", "An attempt that runs longer is killed, with its process."
    )
    soft_timeout_s: float | None = _retry.row(
        "SOFT_TIMEOUT", Duration(0.001, _YEAR_S), None, "An attempt that runs longer gets an exception in the task."
    )

    zmq_bind: str = _network.row(
        "ZMQ_BIND", Address(), "tcp://127.0.0.1:5570", "Address on which the node takes requests."
    )
    zmq_advertise: str | None = _network.row(
        "ZMQ_ADVERTISE",
        Address(),
        None,
        "Address at which others reach the node.",
        default_text="same as ZMQ_BIND",
    )
    zmq_allow_plain: bool = _network.row(
        "ZMQ_ALLOW_PLAIN",
        Flag(),
        "false",
        "Allow ZMQ_BIND on an address other machines can reach without encryption or authentication.",
    )
    client_address: tuple[str, ...] = _network.row(
        "CLIENT_ADDRESS",
        Addresses(),
        "tcp://127.0.0.1:5570",
        "Where App, Client and the command line find a node; a list with commas fails over.",
    )
    cluster_name: str = _network.row(
        "CLUSTER_NAME", _NAME, "zjp", "Nodes and producers with another cluster name are refused."
    )
    curve_enabled: bool = _network.row(
        "CURVE_ENABLED", Flag(), "false", "Encrypt and authenticate every tcp connection to the node."
    )
    curve_dir: Path | None = _network.row(
        "CURVE_DIR", Folder(), None, "Folder of the CURVE keys.", default_text="DATA_DIR/curve"
    )
    client_key_file: Path | None = _network.row(
        "CLIENT_KEY_FILE",
        Folder(),
        None,
        "The client's own CURVE key, made by zjp keys; without it clients speak plainly.",
    )
    client_server_key: str | None = _network.row(
        "CLIENT_SERVER_KEY",
        Text("public keys with commas between them", r"[^\x00-\x1f\x7f]{1,4096}"),
        None,
        "Public CURVE key of the nodes; several with commas, of which each node must have one.",
    )
    client_token: str | None = _network.row(
        "CLIENT_TOKEN", _TEXT, None, "Token for the HTTP API, where CLIENT_ADDRESS is one; zjp token makes it.", secret=True
    )
    client_ca_file: Path | None = _network.row(
        "CLIENT_CA_FILE", Folder(), None, "Certificates (PEM) that an https:// API is checked by, instead of the system's."
    )

    log_level: str = _log.row(
        "LOG_LEVEL", Choice(("debug", "info", "warning", "error")), "info", "Least level that is written."
    )
    log_format: str = _log.row(
        "LOG_FORMAT", Choice(("auto", "console", "json")), "auto", "auto: console on a terminal, JSON lines elsewhere."
    )

    redis_addr: str | None = _shared.row(
        "REDIS_ADDR",
        RedisUrl(),
        None,
        "The cluster's queue: host:port, redis://, rediss://, unix:// or a Sentinel URL.",
        secret=True,
    )
    redis_password: str | None = _shared.row("REDIS_PASSWORD", _TEXT, None, "Password of Redis.", secret=True)
    redis_db: int = _shared.row("REDIS_DB", Whole(0, 65535), "0", "Database number of Redis.")
    records_max: int = _shared.row(
        "RECORDS_MAX",
        Whole(1, 10**9),
        "1000000",
        "Most finished jobs kept in Redis; those that finished within DEDUP_WINDOW stay, however many they are.",
    )
    mongodb_uri: str | None = _shared.row("MONGODB_URI", _MONGODB, None, "Records in MongoDB.", secret=True)
    mongodb_database: str = _shared.row("MONGODB_DATABASE", _NAME, "jobprocessor", "Database of the records.")
    mongodb_timeout_s: float = _shared.row(
        "MONGODB_TIMEOUT", Duration(0.1, 3600), "30s", "Longest wait for one answer of MongoDB."
    )
    events_ttl_s: float = _shared.row(
        "EVENTS_TTL",
        Duration(0, 100 * _YEAR_S),
        "90d",
        "How long events are kept: audit, elections, joins and leaves (0: for ever).",
    )

    election_algorithm: str = _cluster.row(
        "ELECTION_ALGORITHM", Choice(("bully", "raft", "gossip")), "bully", "How the nodes choose their leader."
    )
    election_timeout_s: float | None = _cluster.row(
        "ELECTION_TIMEOUT",
        Duration(0.01, 3600),
        None,
        "Time until a silent leader is given up.",
        default_text="bully 500ms, raft 500ms, gossip 2s",
    )
    election_interval_s: float | None = _cluster.row(
        "ELECTION_INTERVAL",
        Duration(0.001, 3600),
        None,
        "Period of heartbeats or probes; lowered to a quarter of the timeout when above it.",
        default_text="bully 100ms, raft 100ms, gossip 500ms",
    )
    cluster_seeds: tuple[str, ...] | None = _cluster.row(
        "CLUSTER_SEEDS", Seeds(), None, "Addresses of some nodes to join; needs REDIS_ADDR.", default_text="empty"
    )
    cluster_size: int | None = _cluster.row(
        "CLUSTER_SIZE",
        Whole(1, 1000),
        None,
        "Expected number of voters; set it unless CLUSTER_SEEDS names all other nodes. Doubles and this node's own address do not count.",
        default_text="other seeds + 1",
    )
    node_priority: int = _cluster.row(
        "NODE_PRIORITY", Whole(0, 10**6), "0", "Higher leads in bully and gossip; ties by NODE_ID."
    )

    api_enabled: bool = _http.row("API_ENABLED", Flag(), "true", "Start the HTTP API, as a process of its own.")
    server_host: str = _http.row(
        "SERVER_HOST", _HOST, "127.0.0.1", "Host of the HTTP API and the dashboard; 0.0.0.0: all of them."
    )
    server_port: int = _http.row(
        "SERVER_PORT", _PORT, "8080", "Port of the HTTP API and the dashboard; 0: a free one, which the log tells."
    )
    max_body_bytes: int = _http.row(
        "MAX_BODY", Size(1, _GIB), "1MiB", "Largest body of one HTTP request (batches: 16MiB)."
    )
    trusted_proxies: str | None = _http.row(
        "TRUSTED_PROXIES", Networks(), None, "Proxies whose word counts on whom they speak for (X-Forwarded-For, X-Forwarded-Proto)."
    )
    auth_enabled: str = _http.row(
        "AUTH_ENABLED",
        Choice(("auto", "true", "false")),
        "auto",
        "Ask for a token: auto is off when the API binds to loopback, on elsewhere; false elsewhere is allowed with a warning.",
    )
    auth_dev_users: bool = _http.row(
        "AUTH_DEV_USERS", Flag(), "false", "Make users with known passwords; only on a loopback bind."
    )
    jwt_secret: str | None = _http.row(
        "JWT_SECRET",
        _TEXT,
        None,
        "Signs tokens; at least 32 bytes. Several with commas while one replaces another: the first signs, all count.",
        secret=True,
    )
    jwt_key_file: Path | None = _http.row(
        "JWT_KEY_FILE",
        Folder(),
        None,
        "Private key that signs tokens instead of JWT_SECRET, PEM: Ed25519 or RSA; others check them by /.well-known/jwks.json.",
    )
    jwt_ttl_s: float = _http.row("JWT_TTL", Duration(1, 365 * _DAY_S), "1h", "How long a token is valid.")
    jwt_issuer: str = _http.row("JWT_ISSUER", _TEXT, "zjp", "Issuer named in tokens.")
    jwt_audience: str = _http.row("JWT_AUDIENCE", _TEXT, "zjp", "Audience named in tokens.")
    tls_enabled: bool = _http.row("TLS_ENABLED", Flag(), "false", "TLS 1.2 or later on the HTTP API and metrics port.")
    tls_cert_file: Path | None = _http.row("TLS_CERT_FILE", Folder(), None, "Certificate chain, PEM.")
    tls_key_file: Path | None = _http.row("TLS_KEY_FILE", Folder(), None, "Private key, PEM.")

    metrics_enabled: bool = _metrics.row(
        "METRICS_ENABLED", Flag(), "true", "Serve /metrics for Prometheus, by the HTTP API's process."
    )
    metrics_host: str = _metrics.row("METRICS_HOST", _HOST, "127.0.0.1", "Host of the metrics port.")
    metrics_port: int = _metrics.row(
        "METRICS_PORT", _PORT, "9090", "Port of the metrics; 0: a free one, which the log tells."
    )

    @property
    def advertise_address(self) -> str:
        """What others dial: ZMQ_ADVERTISE, or ZMQ_BIND when it is unset."""
        return self.zmq_advertise or self.zmq_bind

    @property
    def curve_folder(self) -> Path:
        """CURVE_DIR, or the folder in DATA_DIR when it is unset."""
        return self.curve_dir or self.data_dir / "curve"

    @property
    def auth_effective(self) -> bool:
        """Whether the HTTP API asks for a token: AUTH_ENABLED, or, when it is auto, whether others can reach the API."""
        return self.auth_enabled == "true" or (self.auth_enabled == "auto" and not is_loopback_host(self.server_host))

    @property
    def is_meshed(self) -> bool:
        """Whether the node meets others: it has seeds, or more than one voter is expected."""
        return bool(self.cluster_seeds) or (self.cluster_size or 1) > 1

    @property
    def cluster_size_effective(self) -> int:
        """CLUSTER_SIZE, or the others among the seeds and this node. Who names only itself has heard of others all the same."""
        if self.cluster_size or not self.cluster_seeds:
            return self.cluster_size or 1
        return max(1, len({*self.cluster_seeds} - {self.zmq_advertise, self.zmq_bind})) + 1

    @property
    def election_times_s(self) -> tuple[float, float]:
        """(ELECTION_TIMEOUT, ELECTION_INTERVAL) or their defaults, which go by the algorithm; the interval is a quarter of it at most."""
        timeout_s, interval_s = ELECTION_DEFAULTS_S[self.election_algorithm]
        timeout_s = self.election_timeout_s or timeout_s
        return timeout_s, min(self.election_interval_s or interval_s, timeout_s / 4)

    @property
    def is_interval_lowered(self) -> bool:
        """Whether ELECTION_INTERVAL was set above a quarter of the timeout."""
        return self.election_interval_s is not None and self.election_interval_s > self.election_times_s[1]

    @property
    def records_ttl_effective_s(self) -> float:
        """RECORDS_TTL, or its default, which is shorter where the records are kept in Redis' memory."""
        if self.records_ttl_s is not None:
            return self.records_ttl_s
        return _DAY_S if self.redis_addr is not None and self.mongodb_uri is None else 7 * _DAY_S

    @property
    def process_count(self) -> int:
        """Worker processes to run: WORKER_PROCESSES, or one per CPU; never more than there are slots."""
        return min(self.worker_processes or _cpu_count(), self.worker_count)


def _cpu_count() -> int:
    """CPUs this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _table() -> dict[str, Setting]:
    rows = [Setting(field=field.name, **field.metadata) for field in dataclasses.fields(Settings)]
    return {setting.name: setting for setting in rows}


TABLE: Mapping[str, Setting] = MappingProxyType(_table())
"""NAME -> row, in the order of the docs."""

DERIVED: Mapping[str, Callable[[Settings], Any]] = MappingProxyType(
    {
        "WORKER_PROCESSES": lambda settings: settings.process_count,
        "ZMQ_ADVERTISE": lambda settings: settings.advertise_address,
        "CURVE_DIR": lambda settings: settings.curve_folder,
        "CLUSTER_SIZE": lambda settings: settings.cluster_size_effective,
        "ELECTION_TIMEOUT": lambda settings: settings.election_times_s[0],
        "ELECTION_INTERVAL": lambda settings: settings.election_times_s[1],
    }
)
"""What an unset setting amounts to, where it follows from the others."""
