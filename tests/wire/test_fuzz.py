"""The fuzzer itself: its frames are repeatable, reach both outcomes, and what is neither message nor WireError is caught."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.wire import fuzz
from zjp.wire import codec

pytestmark = pytest.mark.covers("main-path:3")


def test_a_few_thousand_damaged_frames_give_messages_and_wire_errors_and_nothing_else() -> None:
    tally = fuzz.fuzz_chunk("of the test run", 4_000)
    assert tally.other == []
    assert tally.outcomes["message"] > 150
    assert tally.outcomes["wire_error"] > 10_000
    assert sum(tally.outcomes.values()) == 4_000 * len(fuzz.DECODERS)


def test_same_seed_gives_the_same_outcomes() -> None:
    assert fuzz.fuzz_chunk("7:0", 300) == fuzz.fuzz_chunk("7:0", 300)
    assert len({repr(fuzz.fuzz_chunk(f"{seed}:0", 300)) for seed in range(7, 12)}) > 1


def test_processes_share_the_frames_and_the_exit_code_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--frames", "600", "--seed", "5", "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert "seed          5\nframes        600\ndecodes       3000\n" in printed
    assert "other         0\n" in printed


def test_decoder_that_raises_anything_else_is_caught_with_its_frame() -> None:
    def careless(body: bytes) -> Any:
        if body[:1] == b"\xdd":
            raise MemoryError("4 GiB for an array")
        return codec.decode_request(body)

    tally = fuzz.fuzz_chunk("1:0", 3_000, {"request": careless})
    assert tally.outcomes["other"] == len(tally.other) > 0
    assert {fault for _, fault, _ in tally.other} == {"MemoryError('4 GiB for an array')"}
    assert all(frame[:1] == b"\xdd" for _, _, frame in tally.other)
    assert "request: MemoryError" in fuzz.report(tally, seed=1, duration_s=1.0, rss_bytes=0)


def test_text_that_quotes_the_whole_frame_is_caught() -> None:
    def talkative(body: bytes) -> Any:
        raise codec.WireError("x" * 1_000)

    assert fuzz.fuzz_chunk("1:0", 1, {"request": talkative}).other[0][1] == "text of 1000 characters"


@pytest.mark.parametrize("damage", fuzz.DAMAGES)
def test_each_damage_changes_frames_and_stands_an_empty_one(damage: Any) -> None:
    generator = random.Random(3)
    frames = fuzz.corpus(generator)
    assert any(damage(frame, frames, generator) != frame for frame in frames)
    assert isinstance(damage(b"", frames, generator), bytes)


def test_corpus_holds_every_message_and_the_envelope_undamaged() -> None:
    read = fuzz.Tally()
    for frame in fuzz.corpus(random.Random(4)):
        outcomes = [fuzz._outcome(way, decode, frame, read) for way, decode in fuzz.DECODERS.items()]
        assert "message" in outcomes
    assert read.other == []
