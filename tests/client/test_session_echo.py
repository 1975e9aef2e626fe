"""A request whose answer was lost, and whose repeat is refused: perhaps for what it has done itself."""

from __future__ import annotations

import pytest

from tests.client.test_session import A, B, Driven, later
from zjp.errors import OutcomeUnknown
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("main-path:9", "client:fail-over")

ID = bytes(16)


@pytest.mark.parametrize(
    ("request_", "reply", "told"),
    [
        (m.Promote([ID, ID]), m.Verdicts(["promoted", "not-delayed"]), "a job is not-delayed"),
        (m.RemoveSchedule("nightly"), m.Failure("not-found", "no schedule nightly"), "no schedule nightly"),
    ],
)
def test_a_refusal_that_may_be_the_echo_of_a_lost_answer_is_an_unknown_outcome(request_: m.Request, reply: m.Reply, told: str) -> None:
    driven = Driven(A, B)
    driven.ask(request_, "doubted")
    ((_, seq, _),) = driven.turn()
    driven.down(A)
    driven.refusing.add(A)
    driven.turn()
    driven.reply(B, seq, reply)
    assert isinstance(driven.outcomes["doubted"], OutcomeUnknown)
    assert f"a repeat was refused ({told})" in str(driven.outcomes["doubted"])
    driven.ask(request_, "plain")
    ((_, seq, _),) = driven.turn()
    driven.reply(B, seq, reply)
    assert not isinstance(driven.outcomes["plain"], OutcomeUnknown)


@pytest.mark.parametrize("verdict", ["requeued", "live", "unique", "unknown"])
def test_an_answer_that_no_earlier_sending_can_have_brought_about_stands(verdict: str) -> None:
    """Of a retry that was carried out a repeat is told `requeued`, since it names the run: so `live` is no echo of it."""
    driven = Driven(A, B)
    driven.ask(m.Requeue([ID], [1]), "one")
    ((_, seq, _),) = driven.turn()
    driven.down(A)
    driven.refusing.add(A)
    driven.turn()
    driven.reply(B, seq, m.Verdicts([verdict]))
    assert driven.outcomes == {"one": m.Verdicts([verdict])}


def test_last_answer_to_a_retry_is_not_quoted_where_it_says_to_ask_again() -> None:
    """It is said of this request, and a repeat of the call would be another retry. Fails on a session that quotes every last answer."""
    driven = Driven()
    driven.ask(m.Requeue([ID], [1]), "one", within_s=1.0)
    while not driven.outcomes:
        for address, number, _ in driven.run(0.05):
            driven.reply(address, number, later(OutcomeUnknown))
    error = driven.outcomes["one"]
    assert isinstance(error, OutcomeUnknown)
    assert "look which run the job is in" in str(error)
    assert "the last answer was" not in str(error)
