"""Payloads to msgpack, results back: plain data only, and an error that names the place of what is not.

Plain: None, bool, int (64 bits), float, str, bytes, list, tuple (arrives as a list), dict with str keys. What would pack here and be
refused by the worker (a nested dict with int keys) is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from ..errors import InvalidJob, PayloadTooLarge, WireError
from ..job import DEPTH_MAX

PAYLOAD_BYTES_MAX = 16 << 20
"""What no node takes, whatever its MAX_PAYLOAD: a frame of the wire is not larger."""

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_pack_flat = msgpack.Packer(use_bin_type=True, buf_size=64 << 10).pack
"""Shared by all threads, so for a dict of scalars only: nothing in it runs Python code while it is packed. A class derived from dict may,
and would let another thread pack into the midst of it."""
_EMPTY = b"\x80"
_FAULTS = (TypeError, ValueError, OverflowError, UnicodeError)


def pack_payload(payload: Mapping[str, Any] | None) -> bytes:
    """Raises: InvalidJob, PayloadTooLarge."""
    if not payload:
        _check_is_map(payload)
        return _EMPTY
    try:
        is_flat = type(payload) is dict
        for key, value in payload.items():
            if type(value) not in _SCALARS or type(key) is not str:
                check_plain(payload, "payload")
                is_flat = False
                break
        packed: bytes = _pack_flat(payload) if is_flat else msgpack.packb(dict(payload))
    except (*_FAULTS, AttributeError) as fault:
        _check_is_map(payload)
        check_plain(payload, "payload")
        raise InvalidJob(f"the payload cannot be packed: {fault}") from None
    if len(packed) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"payload is {len(packed)} bytes, the limit is {PAYLOAD_BYTES_MAX}; store it elsewhere and pass a reference"
        )
    return packed


def _check_is_map(payload: object) -> None:
    if payload is not None and type(payload) is not dict and not isinstance(payload, Mapping):  # the last one costs ten times the others
        raise InvalidJob(
            f'payload is a {type(payload).__name__}, it must be a dict of the task\'s parameters, as in {{"recipient": ...}}'
        )


def check_plain(value: object, place: str, depth: int = 0) -> None:
    """Raises: InvalidJob naming the first place that holds something else."""
    if depth > DEPTH_MAX:
        raise InvalidJob(f"{place[:200]} is nested more than {DEPTH_MAX} deep; flatten it, or store it elsewhere")
    if isinstance(value, dict) or (depth == 0 and isinstance(value, Mapping)):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidJob(f"{place} has the key {key!r} of type {type(key).__name__}; keys must be str")
            check_plain(inner, f"{place}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            check_plain(inner, f"{place}[{index}]", depth + 1)
    else:
        _check_scalar(value, place)


def _check_scalar(value: object, place: str) -> None:
    if value is not None and not isinstance(value, bool | int | float | str | bytes | bytearray):
        raise InvalidJob(
            f"{place} is a {type(value).__name__}, which is not plain data; "
            "pass None, bool, int, float, str, bytes, lists and dicts of them (a date as its isoformat())"
        )
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise InvalidJob(f"{place} is an integer beyond 64 bits; pass it as str")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as fault:
            raise InvalidJob(f"{place} is text that cannot be encoded: {fault.reason}; pass it as bytes") from None


def pack_value(value: object) -> bytes:
    """Plain data of any kind. Raises: InvalidJob."""
    try:
        packed: bytes = msgpack.packb(value)
    except _FAULTS as fault:
        raise InvalidJob(f"it cannot be packed: {fault}") from None
    return packed


def unpack(data: bytes, what: str) -> Any:
    """A payload, result or progress as it came. Raises: WireError."""
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_no_extension)
    except (*_FAULTS, msgpack.UnpackException, msgpack.StackError) as fault:
        raise WireError(f"{what} cannot be read: {fault}") from None


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"it holds the msgpack extension {code}")
