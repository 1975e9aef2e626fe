"""The sans-IO session: what is sent where and when, and what callers are told. No socket, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from zjp.client.calls import Receipt
from zjp.client.session import Session
from zjp.errors import (
    Draining,
    InvalidJob,
    JobConflict,
    NodeUnreachable,
    OutcomeUnknown,
    StoreFull,
    WireError,
    ZjpError,
)
from zjp.job import JobSpec, Options, id_prefix
from zjp.wire import messages as m
from zjp.wire.codec import decode_envelope, decode_request, encode

pytestmark = pytest.mark.covers("main-path:9", "client:fail-over", "client:deadlines")

A, B = "tcp://a:1", "tcp://b:1"
CREATED = m.SubmitReply(m.Durability.DISK)


class Driven:
    """A session, its time, and what it sent; links come up as soon as they are wanted unless `refusing` names them."""

    def __init__(self, *addresses: str, refusing: tuple[str, ...] = (), window: int = 4) -> None:
        self.session: Session[str] = Session(
            cluster="zjp", number=7, addresses=addresses or (A,), uniform=lambda: 0.5, window=window
        )
        self.now = 100.0
        self.refusing = set(refusing)
        self.up: set[str] = set()
        self.sent: list[tuple[str, int, m.Request]] = []
        self.outcomes: dict[str, Any] = {}

    def turn(self, to: float | None = None) -> list[tuple[str, int, m.Request]]:
        """Let time come, do what the session wants; what was sent now."""
        self.now = self.now if to is None else to
        self.session.tick(self.now)
        for address in self.session.wanted(self.now):
            if address in self.refusing:
                self.session.link_down(address, self.now, "nothing listens there")
            elif address not in self.up:
                self.up.add(address)
                self.session.link_up(address, self.now)
        sent = []
        for address, seq, frames in self.session.take_sends(self.now):
            number = decode_envelope(frames, "zjp").seq
            assert seq in (0, number)
            sent.append((address, number, decode_request(frames[1])))
        self.sent += sent
        self.collect()
        return sent

    def run(self, seconds: float) -> list[tuple[str, int, m.Request]]:
        """Turn whenever the session asks for it, for so long."""
        until, sent = self.now + seconds, self.turn()
        while (wake_at := self.session.next_wake()) is not None and wake_at <= until:
            sent += self.turn(max(wake_at, self.now + 0.001))
        self.now = until
        return sent

    def collect(self) -> None:
        for waiter, outcome in self.session.take_finished():
            assert waiter not in self.outcomes, f"{waiter} has two outcomes"
            self.outcomes[waiter] = outcome

    def down(self, address: str) -> None:
        self.up.discard(address)
        self.session.link_down(address, self.now, "the connection broke")

    def ask(self, request: m.Request, waiter: str, within_s: float = 10.0) -> None:
        self.session.ask(request, waiter, now=self.now, deadline=self.now + within_s)

    def gather(self, spec: JobSpec, waiter: str, within_s: float = 10.0) -> None:
        self.session.gather(spec, waiter, now=self.now, deadline=self.now + within_s)

    def reply(self, address: str, seq: int, reply: m.Reply, cluster: str = "zjp", version: int = 1) -> None:
        self.session.receive(address, encode(m.Envelope(version, cluster, "n", 1, seq), reply), self.now)
        self.collect()


def spec(number: int = 0, **options: Any) -> JobSpec:
    return JobSpec(number.to_bytes(16, "big"), "t", b"\x80", options=Options(**options) if options else None)


def later(error: type[ZjpError]) -> m.Failure:
    return m.Failure(error.code, "not now", 100)


# ── asking and answering ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reply_reaches_the_caller_that_asked() -> None:
    driven = Driven()
    driven.ask(m.Queues(), "one")
    driven.ask(m.Ping(), "two")
    (_, first, _), (_, second, _) = driven.turn()
    driven.reply(A, second, m.Done(2))
    driven.reply(A, first, m.Done(1))
    assert driven.outcomes == {"one": m.Done(1), "two": m.Done(2)}
    assert not driven.session.is_busy


def test_only_the_first_address_is_connected_while_it_answers() -> None:
    driven = Driven(A, B)
    driven.ask(m.Ping(), "one")
    driven.turn()
    assert driven.up == {A}


def test_an_idle_session_wants_no_connection_and_no_wake() -> None:
    driven = Driven(A, B)
    assert driven.session.wanted(driven.now) == []
    assert driven.session.next_wake() is None


def test_ids_have_the_contracts_layout_and_rise() -> None:
    session = Driven().session
    ids = session.make_ids(1_700_000_000_000, 3) + session.make_ids(1_700_000_000_000, 2)
    assert [job_id[:12] for job_id in ids] == [id_prefix(1_700_000_000_000, 7)] * 5
    assert [int.from_bytes(job_id[12:], "big") for job_id in ids] == [0, 1, 2, 3, 4]
    assert {job_id[6] >> 4 for job_id in ids} == {7}


# ── gathering ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_gathers_while_the_window_is_full_forms_the_next_batch() -> None:
    driven = Driven(window=1)
    driven.gather(spec(0), "0")
    ((_, seq, first),) = driven.turn()
    for number in range(1, 6):
        driven.gather(spec(number), str(number))
    assert driven.turn() == []
    driven.reply(A, seq, CREATED)
    ((_, seq, second),) = driven.turn()
    assert isinstance(first, m.Submit)
    assert isinstance(second, m.Submit)
    assert [len(first.jobs), [job.id for job in second.jobs]] == [1, [spec(number).id for number in range(1, 6)]]
    driven.reply(A, seq, CREATED)
    assert driven.outcomes == {str(number): Receipt(m.Durability.DISK) for number in range(6)}


def test_no_batch_is_larger_than_its_limits() -> None:
    driven = Driven(window=100)
    for number in range(1001):
        driven.gather(spec(number), str(number))
    assert [len(request.jobs) for _, _, request in driven.turn() if isinstance(request, m.Submit)] == [1000, 1]
    large = JobSpec(bytes(16), "t", bytes(3 << 20))
    for number in range(3):
        driven.gather(large, f"large {number}")
    assert [len(request.jobs) for _, _, request in driven.turn() if isinstance(request, m.Submit)] == [1, 1, 1]


def test_one_bad_job_does_not_fail_those_that_share_its_batch() -> None:
    driven = Driven(window=1)
    driven.gather(spec(100), "first")
    ((_, seq, _),) = driven.turn()
    for number in range(7):
        driven.gather(spec(number), str(number))
    driven.reply(A, seq, CREATED)
    bad = spec(4).id
    while sends := driven.turn():
        for address, number, request in sends:
            assert isinstance(request, m.Submit)
            has_bad = bad in [job.id for job in request.jobs]
            driven.reply(address, number, m.Failure("conflict", "other content") if has_bad else CREATED)
    assert isinstance(driven.outcomes.pop("4"), JobConflict)
    assert set(driven.outcomes.values()) == {Receipt(m.Durability.DISK)}
    assert len(driven.outcomes) == 7


def test_an_existing_job_is_told_to_the_one_who_submitted_it() -> None:
    driven = Driven()
    driven.gather(spec(1), "1")
    driven.gather(spec(2, caller_id=True), "2")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, m.SubmitReply(m.Durability.DISK, [(1, m.Submitted(spec(2).id, m.SubmitKind.EXISTED))]))
    assert driven.outcomes["1"].other is None
    assert driven.outcomes["2"].other == m.Submitted(spec(2).id, m.SubmitKind.EXISTED)


def test_a_repeat_of_an_id_made_here_counts_as_created() -> None:
    driven = Driven()
    existed = [(0, m.Submitted(spec(1).id, m.SubmitKind.EXISTED))]
    driven.gather(spec(1), "single")
    driven.ask(m.Submit([spec(1)]), "whole")
    for _, seq, _ in driven.turn():
        driven.reply(A, seq, m.SubmitReply(m.Durability.DISK, existed))
    assert driven.outcomes == {"single": Receipt(m.Durability.DISK), "whole": CREATED}


# ── trouble on the wire ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_broken_link_sends_the_same_request_to_the_next_address() -> None:
    driven = Driven(A, B)
    driven.gather(spec(1), "1")
    ((_, seq, request),) = driven.turn()
    driven.down(A)
    driven.refusing.add(A)
    assert driven.turn() == [(B, seq, request)]
    driven.reply(B, seq, CREATED)
    assert driven.outcomes == {"1": Receipt(m.Durability.DISK)}


def test_an_address_that_refuses_connections_is_passed_over() -> None:
    driven = Driven(A, B, refusing=(A,))
    driven.ask(m.Ping(), "one")
    driven.turn()
    assert [address for address, _, _ in driven.turn()] == [B]


def test_a_silent_link_is_pinged_and_then_left() -> None:
    driven = Driven(A, B)
    driven.ask(m.Queues(), "one")
    ((_, seq, request),) = driven.turn()
    assert [(address, type(sent)) for address, _, sent in driven.run(1.5)] == [(A, m.Ping)]
    assert driven.run(1.0)[-1] == (B, seq, request)


def test_a_link_that_answers_pings_is_not_left() -> None:
    driven = Driven(A, B)
    driven.ask(m.Queues(), "one")
    driven.turn()
    for _ in range(4):
        for address, number, sent in driven.run(1.0):
            assert address == A
            if isinstance(sent, m.Ping):
                driven.reply(A, number, m.Pong("n", "0", m.Durability.DISK, False, []))
    assert [type(sent) for _, _, sent in driven.sent].count(m.Queues) == 1


def test_a_request_that_a_living_node_forgot_is_repeated() -> None:
    driven = Driven(A)
    driven.ask(m.Queues(), "one")
    for _ in range(7):
        for _, number, sent in driven.run(1.0):
            if isinstance(sent, m.Ping):
                driven.reply(A, number, m.Pong("n", "0", m.Durability.DISK, False, []))
    repeats = [number for _, number, sent in driven.sent if isinstance(sent, m.Queues)]
    assert repeats == [repeats[0]] * 2


def test_a_long_wait_may_be_silent_for_longer() -> None:
    driven = Driven(A)
    driven.ask(m.Wait([bytes(16)], 8000), "one", within_s=20.0)
    assert [type(sent) for _, _, sent in driven.run(2.5)] == [m.Wait]
    assert [type(sent) for _, _, sent in driven.run(1.0)] == [m.Ping]


def test_what_the_socket_did_not_take_is_sent_a_little_later() -> None:
    driven = Driven()
    driven.ask(m.Purge("q"), "one")
    ((address, seq, _),) = driven.turn()
    driven.session.not_sent(address, seq, driven.now)
    assert driven.turn() == []
    assert [number for _, number, _ in driven.run(0.1)] == [seq]


def test_a_second_answer_meets_nobody() -> None:
    driven = Driven(A, B)
    driven.ask(m.Ping(), "one")
    ((_, seq, _),) = driven.turn()
    driven.down(A)
    driven.turn()
    driven.reply(B, seq, m.Done(1))
    driven.reply(A, seq, m.Done(2))
    assert driven.outcomes == {"one": m.Done(1)}


def test_all_is_sent_again_after_the_sockets_were_thrown_away() -> None:
    driven = Driven()
    driven.ask(m.Ping(), "one")
    driven.gather(spec(1), "two")
    first = driven.turn()
    driven.up.clear()
    driven.session.forget_links()
    assert sorted(driven.turn()[:2], key=str) == sorted(first, key=str)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_is_raised_as_what_it_was() -> None:
    driven = Driven()
    driven.ask(m.Purge("q"), "one")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, m.Failure("invalid", "no such queue name"))
    assert isinstance(driven.outcomes["one"], InvalidJob)
    assert str(driven.outcomes["one"]) == "no such queue name"


def test_an_unknown_code_is_still_an_error_of_ours() -> None:
    driven = Driven()
    for code in ("newer", "job-failed"):
        driven.ask(m.Ping(), code)
        ((_, seq, _),) = driven.turn()
        driven.reply(A, seq, m.Failure(code, "what"))
        assert type(driven.outcomes[code]) is ZjpError


@pytest.mark.parametrize("error", [Draining, StoreFull])
def test_later_is_asked_elsewhere_at_once(error: type[ZjpError]) -> None:
    driven = Driven(A, B)
    driven.gather(spec(1), "one")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, later(error))
    assert [(address, number) for address, number, _ in driven.turn()] == [(B, seq)]


def test_later_is_asked_again_at_the_only_address_after_a_pause() -> None:
    driven = Driven()
    driven.gather(spec(1), "one")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, later(StoreFull))
    assert driven.turn() == []
    assert [(address, number) for address, number, _ in driven.run(0.2)] == [(A, seq)]


def test_later_until_the_deadline_is_raised_as_itself() -> None:
    driven = Driven()
    driven.gather(spec(1), "one", within_s=2.0)
    while not driven.outcomes:
        for address, number, request in driven.run(0.05):
            if isinstance(request, m.Submit):
                driven.reply(address, number, later(StoreFull))
    assert isinstance(driven.outcomes["one"], StoreFull)
    assert "not now (asked again for 2" in str(driven.outcomes["one"])


def test_a_refusal_without_a_number_fails_all_that_went_over_that_link() -> None:
    driven = Driven()
    driven.ask(m.Ping(), "one")
    driven.ask(m.Queues(), "two")
    driven.turn()
    driven.reply(A, 0, m.Failure("wire", "protocol version is 1, this side speaks 2; upgrade the older side"))
    assert [type(outcome) for outcome in driven.outcomes.values()] == [WireError, WireError]


@pytest.mark.parametrize(
    ("cluster", "version", "text"), [("other", 1, "cluster is 'other'"), ("zjp", 2, "version is 2")]
)
def test_a_refusal_by_a_node_of_another_kind_is_told(cluster: str, version: int, text: str) -> None:
    driven = Driven()
    driven.gather(spec(1), "one")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, m.Failure("wire", "refused"), cluster, version)
    assert isinstance(driven.outcomes["one"], WireError)
    assert text in str(driven.outcomes["one"])


def test_an_unreadable_answer_to_a_submit_leaves_the_outcome_unknown() -> None:
    driven = Driven()
    driven.gather(spec(1), "one")
    driven.ask(m.Ping(), "two")
    for _, seq, _ in driven.turn():
        envelope = encode(m.Envelope(1, "zjp", "n", 1, seq), m.Done())[0]
        driven.session.receive(A, [envelope, b"\xc1"], driven.now)
    driven.collect()
    assert isinstance(driven.outcomes["one"], OutcomeUnknown)
    assert isinstance(driven.outcomes["two"], WireError)


def test_garbage_from_the_wire_changes_nothing() -> None:
    driven = Driven()
    driven.ask(m.Ping(), "one")
    ((_, seq, _),) = driven.turn()
    for frames in ([], [b""], [b"x", b"y", b"z"], [b"\xff" * 600, b"\x93"]):
        driven.session.receive(A, frames, driven.now)
    driven.reply(A, seq, m.Done(1))
    assert driven.outcomes == {"one": m.Done(1)}


# ── deadlines ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_submit_that_never_left_is_unreachable() -> None:
    driven = Driven(A, B, refusing=(A, B))
    driven.gather(spec(1), "one", within_s=1.5)
    driven.run(1.6)
    error = driven.outcomes["one"]
    assert isinstance(error, NodeUnreachable)
    assert str(error) == (
        "no node could be reached within 1.5 s at tcp://a:1 (nothing listens there), tcp://b:1 (nothing listens there); "
        "start one with `python -m zjp.node`, or set CLIENT_ADDRESS to where one runs"
    )


def test_a_submit_that_was_sent_and_not_answered_is_unknown() -> None:
    driven = Driven()
    driven.gather(spec(1), "one", within_s=2.0)
    driven.run(2.1)
    error = driven.outcomes["one"]
    assert isinstance(error, OutcomeUnknown)
    assert "the submit of 00000000-0000-0000-0000-000000000001 was sent and not answered within 2.0 s" in str(error)
    assert "ask with the same id again" in str(error)


@pytest.mark.covers("redis:unknown")
@pytest.mark.parametrize("then", [OutcomeUnknown, StoreFull, Draining])
def test_an_unknown_outcome_stays_unknown_whatever_later_tries_are_told(then: type[ZjpError]) -> None:
    """Fails on a session that raises what it heard last: that nothing was stored."""
    driven = Driven()
    driven.gather(spec(1), "one", within_s=2.0)
    told: list[type[ZjpError]] = [OutcomeUnknown]
    while not driven.outcomes:
        for address, number, request in driven.run(0.05):
            if isinstance(request, m.Submit):
                driven.reply(address, number, later(told.pop() if told else then))
    assert isinstance(driven.outcomes["one"], OutcomeUnknown)
    assert "the last answer was: not now" in str(driven.outcomes["one"])


def test_a_look_up_without_an_answer_is_unreachable_not_unknown() -> None:
    driven = Driven()
    driven.ask(m.Get([bytes(16)]), "one", within_s=2.0)
    driven.run(2.1)
    assert isinstance(driven.outcomes["one"], NodeUnreachable)
    assert str(driven.outcomes["one"]).startswith("get was sent and not answered within 2.0 s")


def test_each_caller_of_a_batch_has_its_own_deadline() -> None:
    driven = Driven()
    driven.gather(spec(1), "early", within_s=1.0)
    driven.gather(spec(2), "late", within_s=2.0)
    ((_, seq, _),) = driven.turn()
    driven.run(1.1)
    assert list(driven.outcomes) == ["early"]
    driven.reply(A, seq, CREATED)
    assert driven.outcomes["late"] == Receipt(m.Durability.DISK)


def test_deadlines_hold_for_submits_that_wait_for_the_window() -> None:
    driven = Driven(window=1)
    driven.gather(spec(1), "out", within_s=1.0)
    driven.turn()
    driven.gather(spec(2), "in", within_s=1.0)
    driven.run(1.1)
    assert isinstance(driven.outcomes["out"], OutcomeUnknown)
    assert isinstance(driven.outcomes["in"], NodeUnreachable)


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    driven = Driven(window=1)
    driven.gather(spec(1), "out")
    driven.turn()
    driven.gather(spec(2), "gathered")
    driven.ask(m.Ping(), "asked")
    driven.session.forget("gathered")
    driven.session.forget("asked")
    assert driven.turn() == []


def test_abandoning_names_everybody_who_waits() -> None:
    driven = Driven(window=1)
    driven.ask(m.Ping(), "asked")
    driven.gather(spec(1), "batch")
    driven.turn()
    driven.gather(spec(2), "gathered")
    assert sorted(driven.session.abandon()) == ["asked", "batch", "gathered"]
    assert not driven.session.is_busy


def test_an_old_refusal_does_not_take_back_a_newer_sending() -> None:
    driven = Driven(A, B)
    driven.gather(spec(1), "one")
    ((_, seq, _),) = driven.turn()
    driven.down(A)
    driven.refusing.add(A)
    assert [address for address, _, _ in driven.turn()] == [B]
    driven.reply(A, seq, later(StoreFull))
    driven.reply(B, seq, CREATED)
    assert driven.outcomes == {"one": Receipt(m.Durability.DISK)}


def test_what_was_answered_is_not_sent_again_when_the_link_breaks() -> None:
    driven = Driven()
    driven.ask(m.Queues(), "one")
    ((_, seq, _),) = driven.turn()
    driven.reply(A, seq, m.QueueCounts([]))
    driven.ask(m.Ping(), "two")
    driven.turn()
    driven.down(A)
    assert [type(sent) for _, _, sent in driven.turn()] == [m.Ping]
