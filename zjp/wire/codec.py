"""Messages to frames and back; the limits; the version and cluster check. Decoding raises nothing but WireError. Pure.

A message between client and node is two frames, [envelope, body]; one between nodes has MESH in front of the two; one between node and
worker process is the body alone.
Any bytes give a message or WireError: what msgspec raises on hostile input (bad types, deep nesting, trailing bytes, lone
surrogates) is caught here. Lengths that a peer may choose are bounded in the types of messages.py.
The grammar is docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ..errors import InvalidJob, WireError
from .greeting import MESH, PEER_BYTES_MAX, MeshMessage, PeerEnvelope
from .messages import (
    MESSAGE_BYTES_MAX,
    PROTOCOL_VERSION,
    Envelope,
    FromWorker,
    Reply,
    Request,
    ToWorker,
)

ENVELOPE_BYTES_MAX = 512
CLUSTER_CHARS_MAX = 64
FAULT_CHARS_MAX = 200
"""msgspec quotes what it refuses; an unknown field's name may be megabytes, and the text goes back to the sender and into the log."""


def plain(value: object) -> str | int | bytes:
    """What msgspec does not take by itself: text, number and bytes of a class derived from theirs. Raises: TypeError."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, bytes):
        return bytes.__getitem__(value, slice(None))
    raise TypeError(f"a message cannot hold {value!r:.200} of type {type(value).__name__}; give plain data")


_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)
_peer_envelope_decoder = msgspec.msgpack.Decoder(PeerEnvelope)
_peer_decoder: msgspec.msgpack.Decoder[MeshMessage] = msgspec.msgpack.Decoder(MeshMessage)
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)

T = TypeVar("T")

_FAULTS = (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError, OverflowError, MemoryError)
"""Everything that a decoder was seen to raise on garbage (tests/wire/fuzz.py)."""


def encode(envelope: Envelope, message: Request | Reply) -> list[bytes]:
    """Raises: InvalidJob when something in it cannot travel."""
    try:
        return [_encoder.encode(envelope), _encoder.encode(message)]
    except (UnicodeError, OverflowError) as fault:
        raise InvalidJob(
            f"{type(message).__name__} cannot be encoded: {fault}; texts must be valid Unicode, numbers have 64 bits"
        ) from None


def encode_peer(envelope: PeerEnvelope, message: MeshMessage) -> list[bytes]:
    """Raises: WireError when it is over the peers' limit."""
    body = _encoder.encode(message)
    if len(body) > PEER_BYTES_MAX:
        raise WireError(f"{type(message).__name__} is {len(body)} bytes, nodes take {PEER_BYTES_MAX} from one another")
    return [MESH, _encoder.encode(envelope), body]


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
            f"cluster is {envelope.cluster[:CLUSTER_CHARS_MAX]!r}, this side belongs to {cluster!r}; set CLUSTER_NAME alike"
        )
    return envelope


def decode_peer_envelope(frames: Sequence[bytes]) -> PeerEnvelope:
    """Check shape and size of `frames`: [MESH, envelope, body]. Version, cluster and sender are the mesh's to check and to count."""
    if len(frames) != 3 or frames[0] != MESH:
        raise WireError(f"message between nodes has {len(frames)} frames, it must have 3: {MESH!r}, envelope and body")
    if len(frames[1]) > ENVELOPE_BYTES_MAX:
        raise WireError(f"envelope is {len(frames[1])} bytes, the limit is {ENVELOPE_BYTES_MAX}")
    if len(frames[2]) > PEER_BYTES_MAX:
        raise WireError(f"body is {len(frames[2])} bytes, the limit between nodes is {PEER_BYTES_MAX}")
    return _decode(_peer_envelope_decoder, frames[1], "envelope")


def decode_peer(body: bytes) -> MeshMessage:
    return _decode(_peer_decoder, body, "message of a node")


def seq_of(frames: Sequence[bytes]) -> int:
    """The request's number in a message that was refused, so that its sender learns why; 0 when not even that can be read."""
    try:
        return _envelope_decoder.decode(frames[0]).seq if frames and len(frames[0]) <= ENVELOPE_BYTES_MAX else 0
    except _FAULTS:
        return 0


def decode_request(body: bytes) -> Request:
    return _decode(_request_decoder, body, "request")


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
        raise WireError(f"{what} of {len(body)} bytes is not valid: {_shown(str(fault))}") from None


def _shown(fault: str) -> str:
    if len(fault) > FAULT_CHARS_MAX:
        fault = fault[:FAULT_CHARS_MAX] + "..."
    return f"{fault}; split it" if "`array` of length <=" in fault else fault
