"""What `zjp doctor` looks at in the ways in: the HTTP API and its secrets, ports, the client's key, voters, and jobs that nobody runs."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..config import Settings
from ..config.kinds import is_loopback_host
from ..config.serving import broken_serving_rules, cautions
from ..errors import ConfigError, ZjpError
from ..job import JobFilter, JobState
from ..wire import messages as m
from ..wire.seen import ClusterReply
from .checks import NOTE, OK, WRONG, Finding

if TYPE_CHECKING:
    from ..client.blocking import Client

LOOK_S = 1.0
WAITING_MAX = 500
"""Waiting jobs whose types are looked at."""
BODY_BYTES = 64 << 10


def api(settings: Settings, origins: Mapping[str, str]) -> Iterator[Finding]:
    """What a node would refuse to start with, and what it only warns of."""
    if not settings.api_enabled:
        yield Finding("api", OK, "API_ENABLED=false: there is none, and no /metrics")
        return
    faults = [fault for fault in broken_serving_rules(settings, origins) if fault]
    for fault in faults:
        yield Finding("api", WRONG, fault, "a node does not start its API with this; correct the setting")
    warned = list(cautions(settings))
    for event, reason in warned:
        state = WRONG if event == "auth.off" else NOTE
        yield Finding(
            "api",
            state,
            reason,
            "set AUTH_ENABLED=true and JWT_SECRET, or SERVER_HOST=127.0.0.1" if state == WRONG else _DEV,
        )
    if not faults and not warned:
        auth = "asks for a token" if settings.auth_effective else "open to everybody on this machine"
        yield Finding("api", OK, f"{settings.server_host}:{settings.server_port}, {auth}")
    if not settings.tls_enabled and settings.auth_effective and not is_loopback_host(settings.server_host):
        why = f"passwords and tokens cross the network in the clear ({settings.server_host}, TLS_ENABLED=false)"
        yield Finding(
            "tls", NOTE, why, "set TLS_ENABLED=true with a certificate, or have a proxy on this machine do it"
        )


_DEV = "unset AUTH_DEV_USERS and make users with zjp users add"


# ── ports ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ports(settings: Settings) -> Iterator[Finding]:
    if not settings.api_enabled:
        return
    yield _port(settings, "http port", "SERVER", settings.server_host, settings.server_port, "/healthz", b'"status"')
    if settings.metrics_enabled:
        yield _port(
            settings,
            "metrics port",
            "METRICS",
            settings.metrics_host,
            settings.metrics_port,
            "/metrics",
            b"zjp_build_info",
        )


def _port(settings: Settings, what: str, name: str, host: str, port: int, path: str, sign: bytes) -> Finding:
    if port == 0 or _is_free(host, port):
        return Finding(what, OK, "the system chooses one" if port == 0 else f"{host}:{port} is free")
    body = _said_at(host, port, path, is_tls=settings.tls_enabled)
    if sign in body:
        return Finding(what, OK, f"zjp answers at {host}:{port}")
    whose = "Prometheus itself has it" if b"prometheus" in body.lower() else "something else has it"
    advice = f"stop what listens there, or set {name}_PORT to another port"
    return Finding(what, WRONG, f"{host}:{port} is taken, and no zjp answers there: {whose}", advice)


def _is_free(host: str, port: int) -> bool:
    try:
        family, *_rest, address = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def _said_at(host: str, port: int, path: str, *, is_tls: bool) -> bytes:
    """What a GET there gives; empty: nothing. Whose certificate it is does not matter: nothing secret is said."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1", "*": "127.0.0.1"}.get(host, host).strip("[]")
    line: http.client.HTTPConnection
    if is_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        line = http.client.HTTPSConnection(name, port, timeout=LOOK_S, context=context)
    else:
        line = http.client.HTTPConnection(name, port, timeout=LOOK_S)
    try:
        line.request("GET", path)
        return line.getresponse().read(BODY_BYTES)
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        line.close()


# ── who may, and who votes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def client_keys(settings: Settings) -> Finding:
    from ..client.keys import open_keyring

    try:
        ring = open_keyring(settings.client_key_file, settings.client_server_key)
    except ConfigError as fault:
        return Finding(
            "client keys",
            WRONG,
            str(fault),
            "zjp keys producer NAME makes one; CLIENT_SERVER_KEY names the nodes' public keys",
        )
    if ring is None:
        return Finding("client keys", OK, "none is set; nodes with CURVE would refuse this client")
    return Finding("client keys", OK, f"{settings.client_key_file}")


def voters(settings: Settings) -> Iterator[Finding]:
    """Only where nodes vote."""
    if not settings.is_meshed:
        return
    size = settings.cluster_size_effective
    spare = (size - 1) // 2
    found = f"{size} voters, {size // 2 + 1} must agree, so {spare} may be away"
    if size == 2 and settings.election_algorithm == "bully":
        yield Finding("voters", OK, f"{size} voters; with bully the store decides between two")
    elif size % 2 == 0:
        advice = f"add a node or take one away (CLUSTER_SIZE, CLUSTER_SEEDS): {size - 1} bear as much"
        yield Finding("voters", NOTE, f"{found}: an even number bears no more than one less", advice)
    elif size < 3:
        yield Finding("voters", NOTE, found, "three nodes go on when one is away")
    else:
        yield Finding("voters", OK, found)


# ── jobs that nobody runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def unserved(client: Client) -> Finding:
    """Waiting types that no node serves. Raises: ZjpError, TimeoutError."""
    from ..client.deeds import expect

    served = set(_served(client, client.cluster()))
    page = expect(m.Page, client._ask(m.List(JobFilter(state=JobState.PENDING), b"", WAITING_MAX)))
    nobodys = sorted({view.type for view in page.jobs} - served)
    if not nobodys:
        return Finding("waiting jobs", OK, f"each of the {len(page.jobs)} looked at has a node that serves its type")
    named = ", ".join(repr(one) for one in nobodys[:5])
    known = ", ".join(sorted(served)[:10]) or "nothing"
    advice = "start a node whose APP has the task, correct the type, or cancel the jobs: zjp jobs list --status pending"
    return Finding("waiting jobs", WRONG, f"no node serves {named}; served is {known}", advice)


def _served(client: Client, cluster: ClusterReply) -> Iterable[str]:
    for node in cluster.nodes:
        try:
            pong = client.ping() if node.node == cluster.node else client.ask_node(node.node, m.Ping())
        except (ZjpError, TimeoutError):
            continue  # it is told as not well elsewhere
        if isinstance(pong, m.Pong):
            yield from pong.tasks
