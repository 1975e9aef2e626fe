"""The messages as a set: each in one conversation, tags unique, a role for each request, every value travels unchanged."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.build import CLASSES, PATIENT, STORED, UNIONS, Drawn, build
from zjp.job import BATCH_MAX, JobSpec, JobState
from zjp.wire import codec, messages
from zjp.wire.messages import Envelope, Jobs, Page, Submit, SubmitReply, Verdicts

pytestmark = pytest.mark.covers("main-path:3")

DECODERS = {
    "request": codec.decode_request,
    "reply": codec.decode_reply,
    "to_worker": codec.decode_to_worker,
    "from_worker": codec.decode_from_worker,
}


def tagged() -> list[type[msgspec.Struct]]:
    found = [cls for cls in vars(messages).values() if isinstance(cls, type) and issubclass(cls, msgspec.Struct)]
    return [cls for cls in found if cls.__struct_config__.tag is not None]


def test_every_message_is_in_exactly_one_conversation() -> None:
    assert sorted(cls.__name__ for cls in CLASSES) == sorted(cls.__name__ for cls in tagged())


def test_no_tag_is_used_twice_and_all_fit_one_byte() -> None:
    tags = [cls.__struct_config__.tag for cls in CLASSES]
    assert len(set(tags)) == len(tags)
    assert all(isinstance(tag, int) and 1 <= tag < 128 for tag in tags)


def test_every_request_has_a_least_role_and_nothing_else_has() -> None:
    assert set(messages.LEAST_ROLE) == set(get_args(messages.Request))


def test_every_message_and_stored_form_is_an_array() -> None:
    assert [cls.__name__ for cls in (*CLASSES, *STORED, Envelope) if not cls.__struct_config__.array_like] == []


def test_fields_after_the_first_default_all_have_one() -> None:
    """Fields are only added at the end with a default; one without would shut out every older sender."""
    for cls in (*CLASSES, *STORED, JobSpec):
        required = [field.required for field in msgspec.structs.fields(cls)]
        assert required == sorted(required, reverse=True), cls.__name__


@pytest.mark.parametrize("way", UNIONS)
@given(data=st.data())
@settings(PATIENT, max_examples=40)
def test_message_of_each_class_comes_back_equal(way: str, data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(get_args(UNIONS[way])))
    message = build(cls, Drawn(data.draw))
    body = codec.encode_worker(message)
    decoded = DECODERS[way](body)
    assert type(decoded) is cls
    assert decoded == message
    assert codec.encode_worker(decoded) == body


@given(data=st.data())
@PATIENT
def test_envelope_comes_back_equal(data: st.DataObject) -> None:
    drawn: Any = build(Envelope, Drawn(data.draw))
    envelope = msgspec.structs.replace(drawn, version=messages.PROTOCOL_VERSION)
    frames = codec.encode(envelope, messages.Ping())
    assert codec.decode_envelope(frames, envelope.cluster) == envelope
    assert codec.seq_of(frames) == envelope.seq
    assert codec.decode_request(frames[1]) == messages.Ping()


@pytest.mark.parametrize("cls", STORED)
@given(data=st.data())
@settings(PATIENT, max_examples=40)
def test_stored_form_comes_back_equal(cls: type[msgspec.Struct], data: st.DataObject) -> None:
    job = build(cls, Drawn(data.draw))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=cls) == job


@pytest.mark.parametrize("way", UNIONS)
def test_message_of_one_conversation_is_refused_in_the_others(way: str) -> None:
    foreign = {
        "request": b"\x92\x21\xa4disk",
        "reply": b"\x91\x0d",
        "to_worker": b"\x91\x0d",
        "from_worker": b"\x91\x42",
    }
    with pytest.raises(codec.WireError, match="not valid: Invalid value"):
        DECODERS[way](foreign[way])


def test_longer_array_of_a_newer_sender_is_read_as_far_as_it_is_known() -> None:
    assert codec.decode_request(msgspec.msgpack.encode([13, "new field", {"of": ["any", "shape"]}])) == messages.Ping()


def test_shorter_array_of_an_older_sender_gets_the_defaults() -> None:
    asked = codec.decode_request(msgspec.msgpack.encode([7, [None]]))
    assert asked == messages.List(messages.JobFilter(), b"", 50)


def test_lists_of_replies_hold_what_the_largest_request_can_ask_for() -> None:
    view = messages.JobView(b"x" * 16, "t", "default", 5, JobState.PENDING, b"\x80", 0)
    for message in (
        Jobs([None] * messages.IDS_MAX),
        Verdicts(["unknown"] * messages.IDS_MAX),
        Page([view] * messages.LIST_LIMIT_MAX, b"", 0),
        SubmitReply(messages.Durability.DISK, [(0, messages.Submitted(b"", messages.SubmitKind.EXISTED))] * BATCH_MAX),
    ):
        assert codec.decode_reply(codec.encode_worker(message)) == message


def test_largest_batch_is_read() -> None:
    batch = Submit([JobSpec(b"x" * 16, "t", b"\x80")] * BATCH_MAX)
    assert codec.decode_request(codec.encode_worker(batch)) == batch
