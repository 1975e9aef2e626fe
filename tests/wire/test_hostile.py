"""Hostile msgpack: small in bytes, meant to be large in time or memory. Each case runs in a process with a memory limit, and is refused
within a moment; a crash of the interpreter (deep nesting has crashed C decoders) would show as the process's exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.covers("main-path:3")

ROOT = Path(__file__).parent.parent.parent
FULL = 20 << 20
"""The largest body that a socket lets in."""
MEMORY_MAX_BYTES = 200 << 20
"""On top of what the interpreter has after its imports: ten times the body, which the test process itself builds and holds."""
TIME_MAX_S = 0.5

SUBMIT = r"b'\x92\x01\x91\x96\xc4\x00\xa1a\xc4\x00\xa1q\x05'"
"""A submit of one job, up to where its options begin."""

CASES = {
    "nothing": "b''",
    "array_header_of_4G": r"b'\x92\x01\xdd\xff\xff\xff\xff'",
    "array_header_of_4G_as_the_whole": r"b'\xdd\xff\xff\xff\xff\x01'",
    "map_header_of_4G": SUBMIT + r" + b'\xdf\xff\xff\xff\xff'",
    "text_of_4G": r"b'\x92\x09\xdb\xff\xff\xff\xff'",
    "bytes_of_4G": r"b'\x92\x02\x91\xc6\xff\xff\xff\xff'",
    "array_within_limits_but_cut": r"b'\x92\x02\xdc\x03\xe8'",
    "nested_100_000_deep": r"b'\x91' * 100_000 + b'\xc0'",
    "nested_100_000_deep_in_an_unknown_field": r"b'\x92\x0d' + b'\x91' * 100_000 + b'\xc0'",
    "nested_20_million_deep_in_an_unknown_field": r"b'\x92\x0d' + b'\x91' * (FULL - 3) + b'\xc0'",
    "maps_nested_deep_in_an_unknown_field": r"b'\x92\x0d' + b'\x81\xa1a' * 1_000_000 + b'\xc0'",
    "maps_as_keys_of_maps": r"b'\x92\x0d' + b'\x81' * 1_000_000 + b'\xc0'",
    "trailing_bytes": r"b'\x91\x0d\x00'",
    "two_messages_in_one": r"b'\x91\x0d\x91\x0d'",
    "extension_type": r"b'\xd4\x01\x00'",
    "timestamp_for_a_number": r"b'\x93\x03\x91\xc4\x00\xd6\xff\x00\x00\x00\x00'",
    "byte_that_is_never_used": r"b'\xc1'",
    "invalid_utf8": r"b'\x92\x09\xa1\xff'",
    "lone_surrogate": r"b'\x92\x09\xa3\xed\xa0\x80'",
    "tag_of_64_bits": r"b'\x91\xcf' + b'\xff' * 8",
    "float_for_a_number": r"b'\x93\x03\x91\xc4\x00\xcb\x7f\xf8' + bytes(6)",
    "ten_million_ids": r"b'\x92\x02\xdd' + (10 << 20).to_bytes(4, 'big') + b'\xc4\x00' * (10 << 20)",
    "three_million_jobs": r"b'\x92\x01\xdd' + (FULL // 7 - 9).to_bytes(4, 'big') + b'\x93\xc4\x00\xa1a\xc4\x00' * (FULL // 7 - 9)",
    "twenty_million_tags": SUBMIT + r" + b'\x81\xa4tags\xdd' + (FULL - 99).to_bytes(4, 'big') + b'\xa0' * (FULL - 99)",
    "option_name_of_20_MB": SUBMIT + r" + b'\x81\xdb' + (FULL - 99).to_bytes(4, 'big') + b'z' * (FULL - 99) + b'\x01'",
    "state_of_20_MB": r"b'\x92\x07\x91\xdb' + (FULL - 99).to_bytes(4, 'big') + b'z' * (FULL - 99)",
}

PROGRAM = r"""
import json, resource, sys, time
from zjp.errors import WireError
from zjp.wire.codec import decode_request
FULL = 20 << 20
for name, source in json.load(sys.stdin).items():
    body = eval(source)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    try:
        outcome = repr(decode_request(body))[:80]
    except WireError as fault:
        outcome = "refused, " + str(len(str(fault)))
    took_s = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps([name, outcome, took_s, grown]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, float, int]]:
    """All cases in one process: a start per case would cost more than the cases."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_MAX_BYTES} * 3, {MEMORY_MAX_BYTES} * 3))"
    ended = subprocess.run(
        [sys.executable, "-c", limit + PROGRAM],
        input=json.dumps(CASES),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return {name: (outcome, took_s, grown) for name, outcome, took_s, grown in lines}


@pytest.mark.parametrize("case", CASES)
def test_hostile_body_is_refused_with_a_short_text_in_little_time_and_memory(
    case: str, outcomes: dict[str, tuple[str, float, int]]
) -> None:
    outcome, took_s, grown_bytes = outcomes[case]
    assert outcome.startswith("refused, "), outcome
    assert int(outcome.removeprefix("refused, ")) < 400
    assert took_s < TIME_MAX_S
    assert grown_bytes < MEMORY_MAX_BYTES
