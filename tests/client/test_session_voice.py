"""The sans-IO session of an HTTP door: for whom its requests are."""

from __future__ import annotations

import pytest

from zjp.client.calls import Voice
from zjp.client.session import Session
from zjp.job import JobSpec, id_prefix
from zjp.wire import messages as m
from zjp.wire.codec import decode_envelope

pytestmark = pytest.mark.covers("http:gate")

A = "tcp://a:1"


def test_who_is_spoken_for_travels_with_each_sending_and_batches_are_the_sessions_own() -> None:
    session: Session[str] = Session(cluster="zjp", number=7, addresses=[A], uniform=lambda: 0.5, gate=b"token")
    session.ask(m.Queues(), "queues", now=1.0, deadline=60.0, voice=Voice("ada", 3))
    session.gather(JobSpec(id_prefix(1, 7) + bytes(4), "noop", b"\x80"), "submit", now=1.0, deadline=60.0)
    session.wanted(1.0)
    session.link_up(A, 1.0)
    first = [decode_envelope(frames, "zjp") for _, _, frames in session.take_sends(1.0)]
    session.link_down(A, 2.0, "gone")
    session.link_up(A, 3.0)
    again = [decode_envelope(frames, "zjp") for _, _, frames in session.take_sends(3.0)]
    for sent in (first, again):
        assert {(one.gate, one.user, one.role) for one in sent} == {(b"token", "ada", 3), (b"token", "", 0)}
    assert {one.seq for one in first} == {one.seq for one in again}
