"""The rules that join several settings, each with what it says when it is broken. Pure.

Each of two settings may be right alone and wrong together: a retry that is capped below its first delay, a result that no message
carries. `load` asks all rules after each setting was read; a setting that is wrong by itself counts here as its default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from zjp.config.kinds import is_loopback, is_wildcard
from zjp.config.table import TABLE, Settings

_MIB = 1 << 20
JOB_BYTES_MAX = 17 * _MIB
"""Payload and result of one job. One message carries 20 MiB and must hold both, with up to 100 attempts and their tracebacks (2 MiB)."""
MONGODB_JOB_BYTES_MAX = 13 * _MIB
"""The same in MongoDB, where one document holds 16 MiB and a record in it 15 MiB."""
ATTEMPTS_BYTES = 2 * _MIB


def record_bytes_max(settings: Settings) -> int:
    """Of the largest record that this node may have to store: payload, result and attempts of one job."""
    return settings.max_payload_bytes + settings.max_result_bytes + ATTEMPTS_BYTES


def broken_rules(settings: Settings, origins: Mapping[str, str]) -> Iterable[str | None]:
    """One text per rule, None where it holds. `origins`: per NAME where it came from, fit to be shown."""
    yield _exposed(settings, origins)
    yield _above(settings, origins, "RETRY_BASE_DELAY", "RETRY_MAX_DELAY", reason="the first delay would be cut")
    yield _above(settings, origins, "SOFT_TIMEOUT", "JOB_TIMEOUT", reason="the attempt would be killed first")
    yield _above(settings, origins, "WORKER_PROCESSES", "WORKER_COUNT", reason="each process needs a slot")
    yield _forgotten(settings, origins)
    yield _too_large(settings, origins)
    yield _without_queue(settings, origins)
    yield _unreachable(settings, origins)


def _above(settings: Settings, origins: Mapping[str, str], name: str, limit: str, *, reason: str) -> str | None:
    value, most = (getattr(settings, TABLE[key].field) for key in (name, limit))
    if value is None or value <= most:
        return None
    return (
        f"{shown(settings, name)}: above {shown(settings, limit)}, {reason} (set by {origins[name]}, "
        f"{limit} by {origins[limit]}; accepted: up to {limit})"
    )


def _exposed(settings: Settings, origins: Mapping[str, str]) -> str | None:
    if settings.zmq_allow_plain or settings.curve_enabled or is_loopback(settings.zmq_bind):
        return None
    return (
        f"{shown(settings, 'ZMQ_BIND')}: not a loopback address and CURVE is off, so whoever reaches it can submit jobs "
        f"(set by {origins['ZMQ_BIND']}; accepted: a loopback address, CURVE_ENABLED=true, or ZMQ_ALLOW_PLAIN=true)"
    )


def _forgotten(settings: Settings, origins: Mapping[str, str]) -> str | None:
    """A repeat of a finished job is recognised by its record."""
    ttl_s = settings.records_ttl_effective_s
    if not ttl_s or ttl_s >= settings.dedup_window_s:
        return None
    return (
        f"{shown(settings, 'RECORDS_TTL')}: below {shown(settings, 'DEDUP_WINDOW')}, a repeated submit of a job whose record is gone "
        f"would run it again (set by {origins['RECORDS_TTL']}, DEDUP_WINDOW by {origins['DEDUP_WINDOW']}; "
        "accepted: DEDUP_WINDOW or more, or 0)"
    )


def _too_large(settings: Settings, origins: Mapping[str, str]) -> str | None:
    in_mongodb = settings.mongodb_uri is not None
    most = MONGODB_JOB_BYTES_MAX if in_mongodb else JOB_BYTES_MAX
    if settings.max_payload_bytes + settings.max_result_bytes <= most:
        return None
    where = "a record in MongoDB" if in_mongodb else "a message"
    return (
        f"{shown(settings, 'MAX_PAYLOAD')} and {shown(settings, 'MAX_RESULT')}: more than {most // _MIB}MiB together, {where} holds both "
        f"and the job's attempts (set by {origins['MAX_PAYLOAD']} and {origins['MAX_RESULT']}; accepted: up to {most // _MIB}MiB together; "
        "store what is larger elsewhere and pass a reference)"
    )


def _without_queue(settings: Settings, origins: Mapping[str, str]) -> str | None:
    if not settings.is_meshed or settings.redis_addr is not None:
        return None
    name = "CLUSTER_SEEDS" if settings.cluster_seeds else "CLUSTER_SIZE"
    return f"{shown(settings, name)}: nodes need a common queue: set REDIS_ADDR (set by {origins[name]}; accepted: with REDIS_ADDR only)"


def _unreachable(settings: Settings, origins: Mapping[str, str]) -> str | None:
    """Others are told to dial it."""
    address = settings.advertise_address
    if not settings.is_meshed or not is_wildcard(address):
        return None
    name = "ZMQ_BIND" if settings.zmq_advertise is None else "ZMQ_ADVERTISE"
    return (
        f"{shown(settings, name)}: all interfaces is no address that other nodes can dial (set by {origins[name]}; "
        "accepted: with ZMQ_ADVERTISE=tcp://<name or address of this machine>:<port>)"
    )


def shown(settings: Settings, name: str) -> str:
    """NAME=value, secrets masked."""
    return f"{name}={TABLE[name].show(getattr(settings, TABLE[name].field))}"


def unreadable(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a file that a setting names; None: it can be read."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as fault:
        return f"cannot be read: {fault.strerror}"
    return None
