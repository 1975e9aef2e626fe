"""Laws of the session under a network that loses, repeats, delays and reorders: hypothesis drives, a store in a set is the truth.

Whatever happens, each caller has exactly one outcome by its deadline, and the outcome does not lie: a receipt means stored, an error that
says "nothing was done" means not stored.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zjp.client.calls import Receipt
from zjp.client.session import Session
from zjp.errors import JobRejected, OutcomeUnknown, Unavailable
from zjp.job import JobSpec
from zjp.wire import messages as m
from zjp.wire.codec import decode_envelope, decode_request, encode

pytestmark = pytest.mark.covers("main-path:9", "client:fail-over", "client:ids")

WITHIN_S = 10.0
ADDRESSES = ("tcp://a:1", "tcp://b:1", "tcp://c:1")
POISON = b"\x81\xa6poison\xc0"
Frames = tuple[str, list[bytes]]


class Network(RuleBasedStateMachine):
    """Nodes share one store, as in a cluster. `requests` and `replies` are under way, in no order."""

    @initialize(count=st.integers(1, 3), window=st.integers(1, 4))
    def begin(self, count: int, window: int) -> None:
        self.session: Session[int] = Session(
            cluster="zjp", number=1, addresses=ADDRESSES[:count], uniform=lambda: 0.5, window=window
        )
        self.now = 0.0
        self.up: set[str] = set()
        self.stored: set[bytes] = set()
        self.requests: list[Frames] = []
        self.replies: list[Frames] = []
        self.ids: list[bytes] = []
        self.due: dict[int, float] = {}
        self.outcomes: dict[int, object] = {}

    # ── the caller ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(alone=st.booleans(), is_poison=st.sampled_from([False, False, False, True]))
    def submit(self, alone: bool, is_poison: bool) -> None:
        (job_id,) = self.session.make_ids(1_700_000_000_000, 1)
        assert job_id not in self.ids
        self.ids.append(job_id)
        waiter, deadline = len(self.ids) - 1, self.now + WITHIN_S
        spec = JobSpec(job_id, "t", POISON if is_poison else b"\x80")
        self.due[waiter] = deadline
        if alone:
            self.session.ask(m.Submit([spec]), waiter, now=self.now, deadline=deadline)
        else:
            self.session.gather(spec, waiter, now=self.now, deadline=deadline)

    # ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(may_connect=st.sets(st.sampled_from(ADDRESSES)), refused=st.sets(st.integers(0, 5)))
    def turn(self, may_connect: set[str], refused: set[int]) -> None:
        self.session.tick(self.now)
        for address in self.session.wanted(self.now):
            if address in self.up:
                continue
            if address in may_connect:
                self.up.add(address)
                self.session.link_up(address, self.now)
            else:
                self.session.link_down(address, self.now, "refused")
        for index, (address, seq, frames) in enumerate(self.session.take_sends(self.now)):
            if index in refused or address not in self.up:
                self.session.not_sent(address, seq, self.now)
            else:
                self.requests.append((address, frames))
        self.collect()

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), way=st.sampled_from(["store", "store", "store", "later", "draining"]))
    def node_hears(self, data: st.DataObject, way: str) -> None:
        """Any of the requests under way arrives, also when its link broke meanwhile."""
        address, frames = self.requests.pop(data.draw(st.integers(0, len(self.requests) - 1)))
        envelope, request = decode_envelope(frames, "zjp"), decode_request(frames[1])
        reply = self.node(request, way)
        self.replies.append((address, encode(m.Envelope(1, "zjp", "n", 1, envelope.seq), reply)))

    def node(self, request: m.Request, way: str) -> m.Reply:
        if not isinstance(request, m.Submit):
            return m.Pong("n", "0", m.Durability.DISK, False, [])
        if way == "later":
            return m.Failure("store-unavailable", "no", 100)
        if way == "draining":
            return m.Failure("draining", "no", 100)
        if any(spec.payload == POISON for spec in request.jobs):
            return m.Failure("invalid", "poison")
        existed = [
            (index, m.Submitted(spec.id, m.SubmitKind.EXISTED))
            for index, spec in enumerate(request.jobs)
            if spec.id in self.stored
        ]
        self.stored.update(spec.id for spec in request.jobs)
        return m.SubmitReply(m.Durability.DISK, existed)

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), again=st.booleans())
    def client_hears(self, data: st.DataObject, again: bool) -> None:
        """Any of the replies under way arrives; it may arrive again, and after its link broke."""
        index = data.draw(st.integers(0, len(self.replies) - 1))
        address, frames = self.replies[index] if again else self.replies.pop(index)
        self.session.receive(address, frames, self.now)
        self.collect()

    @precondition(lambda self: self.up)
    @rule(data=st.data(), loses=st.booleans())
    def link_breaks(self, data: st.DataObject, loses: bool) -> None:
        address = data.draw(st.sampled_from(sorted(self.up)))
        self.up.discard(address)
        if loses:
            self.requests = [one for one in self.requests if one[0] != address]
            self.replies = [one for one in self.replies if one[0] != address]
        self.session.link_down(address, self.now, "broke")

    @rule()
    def sockets_are_thrown_away(self) -> None:
        self.up.clear()
        self.session.forget_links()

    # ── the laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def collect(self) -> None:
        for waiter, outcome in self.session.take_finished():
            assert waiter not in self.outcomes, "two outcomes"
            self.outcomes[waiter] = outcome
            is_stored = self.ids[waiter] in self.stored
            if isinstance(outcome, Receipt):
                assert is_stored
                assert outcome.other is None, "nobody else makes this id"
            elif isinstance(outcome, m.SubmitReply):
                assert is_stored
                assert outcome.others == []
            elif isinstance(outcome, Unavailable | JobRejected):
                assert not is_stored, f"{outcome!r} for a stored job"
            else:
                assert isinstance(outcome, OutcomeUnknown)

    @invariant()
    def the_session_never_sleeps_past_a_deadline(self) -> None:
        waiting = [deadline for waiter, deadline in self.due.items() if waiter not in self.outcomes]
        if waiting:
            wake_at = self.session.next_wake()
            assert wake_at is not None
            assert wake_at <= min(waiting)

    def teardown(self) -> None:
        """All deadlines pass: everybody has exactly one outcome and nothing is left behind."""
        if not hasattr(self, "session"):
            return
        self.now += WITHIN_S + 1
        self.session.tick(self.now)
        self.collect()
        assert self.outcomes.keys() == self.due.keys()
        assert not self.session.is_busy


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 1 << 47), st.integers(0, 50)), max_size=30), st.integers(0, (1 << 42) - 1))
def test_ids_are_never_used_twice_even_when_the_clock_jumps(steps: list[tuple[int, int]], number: int) -> None:
    session: Session[None] = Session(cluster="zjp", number=number, addresses=ADDRESSES, uniform=lambda: 0.5)
    ids = [job_id for now_ms, count in steps for job_id in session.make_ids(now_ms, count)]
    assert len(set(ids)) == len(ids)
    assert [int.from_bytes(job_id[12:], "big") for job_id in ids] == list(range(len(ids)))
