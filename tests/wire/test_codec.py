"""The codec's laws: any frames give a message or WireError; limits, version and cluster are checked, each with its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.build import CLASSES, PATIENT, Drawn, build
from zjp.errors import InvalidJob, WireError
from zjp.job import BATCH_MAX, TAGS_READ_MAX, JobSpec, Options
from zjp.schedule import ScheduleChange
from zjp.wire import codec
from zjp.wire.messages import (
    IDS_MAX,
    MESSAGE_BYTES_MAX,
    PROTOCOL_VERSION,
    ChangeSchedule,
    Envelope,
    Get,
    List,
    Pause,
    Ping,
    Submit,
)

pytestmark = pytest.mark.covers("main-path:3")

DECODERS: list[Callable[[bytes], Any]] = [
    codec.decode_request,
    codec.decode_reply,
    codec.decode_to_worker,
    codec.decode_from_worker,
    lambda body: codec.decode_envelope([body, b""], "zjp"),
]
ENVELOPE = Envelope(PROTOCOL_VERSION, "zjp", "p-1", 1, 7)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.binary(max_size=20)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def refusal(decode: Callable[..., Any], *args: Any) -> str:
    """The text of the WireError, empty when there was none; any other exception fails the test."""
    try:
        decode(*args)
    except WireError as fault:
        return str(fault)
    return ""


def is_read_or_refused(decode: Callable[[bytes], Any], body: bytes) -> None:
    assert len(refusal(decode, body)) < 400


@pytest.mark.parametrize("decode", DECODERS)
@given(body=st.binary(max_size=200))
@PATIENT
def test_any_bytes_give_a_message_or_wire_error(decode: Callable[[bytes], Any], body: bytes) -> None:
    is_read_or_refused(decode, body)


@pytest.mark.parametrize("decode", DECODERS)
@given(tag=st.integers(0, 130), rest=st.lists(plain, max_size=6))
@settings(PATIENT, max_examples=60)
def test_any_plain_data_under_a_tag_gives_a_message_or_wire_error(
    decode: Callable[[bytes], Any], tag: int, rest: list[Any]
) -> None:
    is_read_or_refused(decode, msgspec.msgpack.encode([tag, *rest]))


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.data())
@settings(PATIENT, max_examples=60)
def test_message_with_one_damaged_byte_gives_a_message_or_wire_error(
    decode: Callable[[bytes], Any], data: st.DataObject
) -> None:
    body = bytearray(codec.encode_worker(build(data.draw(st.sampled_from(CLASSES)), Drawn(data.draw))))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    is_read_or_refused(decode, bytes(body))


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.data())
@settings(PATIENT, max_examples=60)
def test_message_that_was_cut_gives_a_message_or_wire_error(
    decode: Callable[[bytes], Any], data: st.DataObject
) -> None:
    body = codec.encode_worker(build(data.draw(st.sampled_from(CLASSES)), Drawn(data.draw)))
    is_read_or_refused(decode, body[: data.draw(st.integers(0, len(body)))])


@given(frames=st.lists(st.binary(max_size=60), max_size=4), cluster=st.text(max_size=10))
@PATIENT
def test_any_frames_give_an_envelope_or_wire_error_and_always_a_number_to_answer(
    frames: list[bytes], cluster: str
) -> None:
    assert len(refusal(codec.decode_envelope, frames, cluster)) < 600
    assert isinstance(codec.seq_of(frames), int)


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_message_of_any_other_number_of_frames_is_refused(count: int) -> None:
    with pytest.raises(WireError, match=f"message has {count} frames, it must have 2: envelope and body"):
        codec.decode_envelope([b""] * count, "zjp")


def test_envelope_over_its_limit_is_refused_unread() -> None:
    long = codec.encode(msgspec.structs.replace(ENVELOPE, sender="n" * 600), Ping())
    with pytest.raises(WireError, match=f"envelope is {len(long[0])} bytes, the limit is 512"):
        codec.decode_envelope(long, "zjp")
    assert codec.seq_of(long) == 0


def test_body_over_its_limit_is_refused_unread() -> None:
    head = codec.encode(ENVELOPE, Ping())[0]
    with pytest.raises(WireError, match="body is 20971521 bytes, the limit is 20971520; send smaller batches"):
        codec.decode_envelope([head, bytes(MESSAGE_BYTES_MAX + 1)], "zjp")
    assert codec.decode_envelope([head, bytes(MESSAGE_BYTES_MAX)], "zjp") == ENVELOPE


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Submit([JobSpec(b"", "", b"")] * (BATCH_MAX + 1)), "`array` of length <= 1000 - at `$[1]`; split it"),
        (Submit([]), "`array` of length >= 1 - at `$[1]`"),
        (Get([b""] * (IDS_MAX + 1)), "`array` of length <= 1000 - at `$[1]`; split it"),
        (Get([]), "`array` of length >= 1 - at `$[1]`"),
        (
            Submit([JobSpec(b"", "", b"", options=Options(tags=("t",) * (TAGS_READ_MAX + 1)))]),
            "`array` of length <= 64 - at `$[1][0][5].tags`; split it",
        ),
        (
            ChangeSchedule("n", ScheduleChange(tags=("t",) * (TAGS_READ_MAX + 1))),
            "`array` of length <= 64 - at `$[2].tags`; split it",
        ),
    ],
)
def test_request_with_too_many_or_no_entries_is_refused(message: Any, text: str) -> None:
    with pytest.raises(WireError) as refused:
        codec.decode_request(codec.encode_worker(message))
    assert text in str(refused.value)


def test_time_that_no_database_can_hold_is_refused() -> None:
    for position in (4, 5):
        wanted: list[Any] = [None, "", "", "", 0, 0]
        wanted[position] = 1 << 63
        with pytest.raises(WireError, match=rf"Expected `int` <= 9223372036854775807 - at `\$\[1\]\[{position}\]`"):
            codec.decode_request(msgspec.msgpack.encode([List.__struct_config__.tag, wanted]))


# ── version and cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [0, 2, -1, (1 << 64) - 1])
def test_other_protocol_version_is_refused_with_both_versions_and_can_be_answered(version: int) -> None:
    frames = codec.encode(msgspec.structs.replace(ENVELOPE, version=version), Ping())
    with pytest.raises(WireError, match=f"protocol version is {version}, this side speaks 1; upgrade the older side"):
        codec.decode_envelope(frames, "zjp")
    assert codec.seq_of(frames) == ENVELOPE.seq


def test_other_cluster_is_refused_with_both_names_and_can_be_answered() -> None:
    frames = codec.encode(ENVELOPE, Ping())
    with pytest.raises(WireError, match="cluster is 'zjp', this side belongs to 'blue'; set CLUSTER_NAME alike"):
        codec.decode_envelope(frames, "blue")
    assert codec.seq_of(frames) == ENVELOPE.seq


def test_foreign_cluster_name_is_shown_cut_and_escaped() -> None:
    frames = codec.encode(msgspec.structs.replace(ENVELOPE, cluster="\x1b[2J" + "x" * 400), Ping())
    with pytest.raises(WireError) as refused:
        codec.decode_envelope(frames, "zjp")
    assert "\\x1b" in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert "x" * 65 not in str(refused.value)


# ── encoding ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "message",
    [Pause("half a pair \ud800"), Submit([JobSpec(b"", "t", b"\x80", priority=1 << 64)])],
    ids=["text", "number"],
)
def test_what_cannot_travel_is_the_callers_fault(message: Any) -> None:
    with pytest.raises(InvalidJob, match=r"cannot be encoded: .*; texts must be valid Unicode, numbers have 64 bits"):
        codec.encode(ENVELOPE, message)


class Name(str):
    """Text that shows itself otherwise."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"


class Number(int):
    pass


class Bytes(bytes):
    pass


def test_text_numbers_and_bytes_of_derived_classes_travel_as_what_they_are() -> None:
    spec = JobSpec(Bytes(range(16)), Name("t"), b"\x80", Name("q"), options=Options(max_retries=Number(3), tags=(Name("a"),)))
    _, body = codec.encode(ENVELOPE, Submit([spec]))
    expected = JobSpec(bytes(range(16)), "t", b"\x80", "q", options=Options(max_retries=3, tags=("a",)))
    assert codec.decode_request(body) == Submit([expected])
    with pytest.raises(TypeError, match=r"a message cannot hold <object .* of type object; give plain data"):
        codec.encode(ENVELOPE, Pause(object()))  # type: ignore[arg-type]
