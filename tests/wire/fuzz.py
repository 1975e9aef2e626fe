"""`python -m tests.wire.fuzz --frames 1000000 --seed 1`: damaged messages into every decoder of the wire.

A corpus of valid frames, made from all message classes, is damaged (flipped bits, overwritten bytes, cuts, insertions, splices of two
messages, repeated stretches, length bombs, swapped type bytes), one to four times each, and given to all decoders. Each must give a
message or WireError; anything else is printed with the frame and ends with exit code 1. The same seed gives the same frames, however many
processes share the work.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.wire.build import CLASSES, Seeded, build
from zjp.errors import WireError
from zjp.wire import codec
from zjp.wire.messages import PROTOCOL_VERSION, Envelope

CHUNK_FRAMES = 5_000
"""Frames of one seed: each chunk stands alone, so that processes can share them."""
CORPUS_PER_CLASS = 6
DAMAGES_MAX = 4
SHOWN_MAX = 10
TEXT_CHARS_MAX = 400

Decode = Callable[[bytes], Any]

DECODERS: Mapping[str, Decode] = {
    "request": codec.decode_request,
    "reply": codec.decode_reply,
    "to_worker": codec.decode_to_worker,
    "from_worker": codec.decode_from_worker,
    "envelope": lambda head: codec.decode_envelope([head, b""], "zjp"),
}
"""Way -> decoder."""

BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\x7f\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xa3\xed\xa0\x80",
    b"\x91" * 2_000,
    b"\x81" * 2_000,
    b"\xc1",
)
"""Headers that claim 4 GiB, numbers at the ends, extensions, half a surrogate pair, nesting, the byte that means nothing."""


@dataclass
class Tally:
    """What became of the frames. `other`: neither message nor WireError; (way, exception, frame) of the first few."""

    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    other: list[tuple[str, str, bytes]] = field(default_factory=list)

    def add(self, more: Tally) -> None:
        self.frames += more.frames
        self.outcomes += more.outcomes
        self.other += more.other


def corpus(generator: random.Random) -> list[bytes]:
    choices = Seeded(generator)
    made = [codec.encode_worker(build(cls, choices)) for cls in CLASSES for _ in range(CORPUS_PER_CLASS)]
    envelope = Envelope(PROTOCOL_VERSION, "zjp", "n-1", 3, 99)
    return [*made, *[codec.encode_worker(envelope)] * (CORPUS_PER_CLASS * 2)]  # type: ignore[arg-type]


def damaged(frame: bytes, frames: Sequence[bytes], generator: random.Random) -> bytes:
    for _ in range(min(generator.randint(1, DAMAGES_MAX), generator.randint(1, DAMAGES_MAX))):
        frame = generator.choice(DAMAGES)(frame, frames, generator)
    return frame


def _flip_bit(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    return _overwrite(frame, lambda old: old ^ 1 << generator.randrange(8), generator)


def _set_byte(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    return _overwrite(frame, lambda _: generator.randrange(256), generator)


def _set_type(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    """The bytes 0xc0 to 0xdf are msgpack's types with a length or a width of their own."""
    return _overwrite(frame, lambda _: generator.randint(0xC0, 0xDF), generator)


def _cut(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    return frame[: generator.randint(0, len(frame))]


def _insert(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    at = generator.randint(0, len(frame))
    return frame[:at] + generator.randbytes(generator.randint(1, 8)) + frame[at:]


def _splice(frame: bytes, frames: Sequence[bytes], generator: random.Random) -> bytes:
    other = generator.choice(frames)
    return frame[: generator.randint(0, len(frame))] + other[generator.randint(0, len(other)) :]


def _repeat(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    begin, end = sorted((generator.randint(0, len(frame)), generator.randint(0, len(frame))))
    return frame[:end] + frame[begin:end] * generator.randint(1, 3) + frame[end:]


def _bomb(frame: bytes, _: Sequence[bytes], generator: random.Random) -> bytes:
    at = generator.randint(0, len(frame))
    return frame[:at] + generator.choice(BOMBS) + frame[at + generator.randint(0, 5) :]


def _overwrite(frame: bytes, change: Callable[[int], int], generator: random.Random) -> bytes:
    if not frame:
        return frame
    at = generator.randrange(len(frame))
    return frame[:at] + bytes([change(frame[at])]) + frame[at + 1 :]


DAMAGES = (_flip_bit, _set_byte, _set_type, _cut, _insert, _splice, _repeat, _bomb)


def fuzz_chunk(seed: str, frames: int, decoders: Mapping[str, Decode] = DECODERS) -> Tally:
    generator = random.Random(seed)
    valid = corpus(generator)
    tally = Tally()
    for _ in range(frames):
        frame = damaged(generator.choice(valid), valid, generator)
        tally.frames += 1
        for way, decode in decoders.items():
            tally.outcomes[_outcome(way, decode, frame, tally)] += 1
    return tally


def _outcome(way: str, decode: Decode, frame: bytes, tally: Tally) -> str:
    try:
        codec.encode_worker(decode(frame))  # what was read can also be written: a reply may quote it
    except WireError as fault:
        if len(str(fault)) <= TEXT_CHARS_MAX:
            return "wire_error"
        tally.other.append((way, f"text of {len(str(fault))} characters", frame))
    except Exception as fault:
        tally.other.append((way, repr(fault), frame))
    else:
        return "message"
    return "other"


def _chunk(job: tuple[str, int]) -> Tally:
    return fuzz_chunk(*job)


def fuzz(frames: int, seed: int, processes: int) -> Tally:
    jobs = [(f"{seed}:{start}", min(CHUNK_FRAMES, frames - start)) for start in range(0, frames, CHUNK_FRAMES)]
    total = Tally()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for tally in pool.imap_unordered(_chunk, jobs):
            total.add(tally)
    return total


def report(tally: Tally, *, seed: int, duration_s: float, rss_bytes: int) -> str:
    lines = [
        f"seed          {seed}",
        f"frames        {tally.frames}",
        f"decodes       {sum(tally.outcomes.values())}",
        f"messages      {tally.outcomes['message']}",
        f"WireErrors    {tally.outcomes['wire_error']}",
        f"other         {tally.outcomes['other']}",
        f"duration      {duration_s:.1f} s",
        f"peak RSS      {rss_bytes / 2**20:.1f} MiB",
    ]
    shown = [f"{way}: {fault}\n    {frame[:200].hex()}" for way, fault, frame in tally.other[:SHOWN_MAX]]
    return "\n".join(lines + shown)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.wire.fuzz", description="Damaged messages into every decoder."
    )
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    began = time.monotonic()
    tally = fuzz(given.frames, seed, given.processes)
    peak_kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(report(tally, seed=seed, duration_s=time.monotonic() - began, rss_bytes=peak_kib * 1024))
    return 1 if tally.outcomes["other"] else 0


if __name__ == "__main__":
    sys.exit(main())
