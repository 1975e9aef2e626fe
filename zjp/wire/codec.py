"""Messages to frames and back; the limits; the version and cluster check. Raises nothing but WireError. Pure.

A message between client and node is two frames, [envelope, body]; a message between node and worker process is one, the body.
Any bytes give a message or WireError: what msgspec raises on hostile input (bad types, deep nesting, trailing bytes, lone
surrogates) is caught here.
The grammar is docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ..errors import WireError
from ..job import BATCH_MAX
from .messages import (
    IDS_MAX,
    MESSAGE_BYTES_MAX,
    PROTOCOL_VERSION,
    Cancel,
    Envelope,
    FromWorker,
    Get,
    Promote,
    Reply,
    Request,
    Requeue,
    Submit,
    ToWorker,
    Wait,
)

ENVELOPE_BYTES_MAX = 512
CLUSTER_CHARS_MAX = 64

_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)

T = TypeVar("T")

_FAULTS = (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError, OverflowError, MemoryError)
"""Everything that a decoder was seen to raise on garbage (tests/wire/fuzz.py)."""


def encode(envelope: Envelope, message: Request | Reply) -> list[bytes]:
    return [_encoder.encode(envelope), _encoder.encode(message)]


def encode_worker(message: ToWorker | FromWorker) -> bytes:
    return _encoder.encode(message)


def decode_envelope(frames: Sequence[bytes], cluster: str) -> Envelope:
    """Check shape, size, version and cluster of `frames`: [envelope, body]."""
    if len(frames) != 2:
        raise WireError(f"message has {len(frames)} frames, it must have 2: envelope and body")
    if len(frames[0]) > ENVELOPE_BYTES_MAX:
        raise WireError(f"envelope is {len(frames[0])} bytes, the limit is {ENVELOPE_BYTES_MAX}")
    if len(frames[1]) > MESSAGE_BYTES_MAX:
        raise WireError(f"body is {len(frames[1])} bytes, the limit is {MESSAGE_BYTES_MAX}; send smaller batches")
    envelope = _decode(_envelope_decoder, frames[0], "envelope")
    if envelope.version != PROTOCOL_VERSION:
        raise WireError(
            f"protocol version is {envelope.version}, this side speaks {PROTOCOL_VERSION}; upgrade the older side"
        )
    if envelope.cluster != cluster:
        raise WireError(
            f"cluster is {envelope.cluster[:CLUSTER_CHARS_MAX]!r}, this node belongs to {cluster!r}; set CLUSTER_NAME alike"
        )
    return envelope


def seq_of(frames: Sequence[bytes]) -> int:
    """The request's number in a message that was refused, so that its sender learns why; 0 when not even that can be read."""
    try:
        return _envelope_decoder.decode(frames[0]).seq if frames and len(frames[0]) <= ENVELOPE_BYTES_MAX else 0
    except _FAULTS:
        return 0


def decode_request(body: bytes) -> Request:
    request = _decode(_request_decoder, body, "request")
    if isinstance(request, Submit):
        _check_count("jobs", len(request.jobs), BATCH_MAX)
    elif isinstance(request, Get | Wait | Cancel | Requeue | Promote):
        _check_count("ids", len(request.ids), IDS_MAX)
    return request


def decode_reply(body: bytes) -> Reply:
    return _decode(_reply_decoder, body, "reply")


def decode_to_worker(body: bytes) -> ToWorker:
    return _decode(_to_worker_decoder, body, "message to a worker")


def decode_from_worker(body: bytes) -> FromWorker:
    return _decode(_from_worker_decoder, body, "message from a worker")


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except _FAULTS as fault:
        raise WireError(f"{what} of {len(body)} bytes is not valid: {fault}") from None


def _check_count(what: str, count: int, count_max: int) -> None:
    if not 1 <= count <= count_max:
        raise WireError(f"request names {count} {what}, it must name 1 to {count_max}; split it")
