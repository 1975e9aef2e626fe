"""Histories: one write per line, torn tails, order, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sims.history import HistoryDamaged, Recorder, load
from sims.lines import BY_KIND, KINDS, AnyLine, Run, Workload, kind_of
from sims.reference import SHAPES, simulate

ROOT = Path(__file__).parents[2]


def test_what_was_written_is_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    ops = simulate(SHAPES["everything"], 1)
    actors = {op.p for op in ops}
    for actor in actors:
        with Recorder(tmp_path / f"{actor}.jsonl", actor) as recorder:
            recorder.append([op for op in ops if op.p == actor])
    history = load([tmp_path])
    assert len(actors) > 3
    assert [op.t for op in history.ops] == [op.t for op in ops]
    assert sorted(map(repr, history.ops)) == sorted(map(repr, ops))
    assert history.torn == []


def test_lines_at_the_same_time_keep_their_order(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl", "a") as recorder:
        recorder.append([recorder.line("seen", "ok", job=f"j{n}", val="done", t=5) for n in range(100)])
    assert [getattr(op, "job", "") for op in load([tmp_path]).ops] == [f"j{n}" for n in range(100)]


def test_a_line_has_the_monotonic_time_and_its_actor(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl", "w7") as recorder:
        recorder.write("run", "ok", job="j", fence=1, pid=7)
        recorder.write("run", "ok", job="j", fence=2, pid=7)
    first, second = load([tmp_path]).ops
    assert isinstance(first, Run)
    assert first.p == "w7"
    assert 0 < first.t < second.t


def test_a_field_that_the_kind_does_not_have_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl", "a") as recorder, pytest.raises(TypeError):
        recorder.write("run", "ok", job="j", fence=1, pid=7, fense=1)


@given(cut=st.integers(1, 60))
def test_only_the_last_line_is_lost_when_a_file_is_cut(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("history") / "a.jsonl"
    with Recorder(path, "a") as recorder:
        for number in range(3):
            recorder.write("run", "ok", job=f"job-{number}", fence=number, pid=7)
    data = path.read_bytes()
    last_bytes = len(data.splitlines(keepends=True)[-1])
    path.write_bytes(data[: -min(cut, last_bytes)])
    history = load([path])
    is_whole = cut == 1  # only the newline is gone
    is_gone = cut >= last_bytes
    assert len(history.ops) == (3 if is_whole else 2)
    assert history.torn == ([] if is_whole or is_gone else [str(path)])


def test_a_last_line_of_zeros_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(msgspec.json.encode(Workload(t=1, p="a", type="ok")) + b"\n" + b"\0" * 40 + b"\n")
    history = load([path])
    assert (len(history.ops), history.torn) == (1, [str(path)])


@pytest.mark.parametrize(
    "bad", [b'{"f":"run","t":1', b'{"f":"unheard","t":1,"p":"a","type":"ok"}', b'{"f":"run","t":"x"}']
)
def test_damage_before_the_last_line_is_refused_with_its_place(tmp_path: Path, bad: bytes) -> None:
    good = msgspec.json.encode(Workload(t=1, p="a", type="ok"))
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good, bad, good, b""]))
    with pytest.raises(HistoryDamaged, match=r"a\.jsonl, line 2"):
        load([path])


def test_a_whole_last_line_of_an_unknown_kind_is_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"f":"unheard","t":1,"p":"a","type":"ok"}\n')
    with pytest.raises(HistoryDamaged, match="no known line"):
        load([path])


@pytest.mark.parametrize("tail_bytes", [1, 100, 200_000])
def test_an_actor_that_starts_again_cuts_its_torn_tail(tmp_path: Path, tail_bytes: int) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path, "a") as recorder:
        recorder.write("workload", "ok", val="first life")
    with path.open("ab") as file:
        file.write(b"{" + b"x" * (tail_bytes - 1))
    with Recorder(path, "a") as recorder:
        assert recorder.cut_bytes == tail_bytes
        recorder.write("workload", "ok", val="second life")
    history = load([path])
    assert [getattr(op, "val", "") for op in history.ops] == ["first life", "second life"]
    assert history.torn == []


def test_threads_of_one_process_share_a_recorder(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.jsonl", "a") as recorder:

        def write() -> None:
            for number in range(200):
                recorder.write("seen", "ok", job=f"j{number}", val="done" * 50)

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = load([tmp_path])
    assert (len(history.ops), history.torn) == (1_600, [])


WRITER = """
import sys
from sims.history import Recorder
recorder = Recorder(sys.argv[1], "victim")
print("ready", flush=True)
number = 0
while True:
    recorder.append([recorder.line("seen", "ok", job=str(number + n), val="done" * 40) for n in range(7)])
    number += 7
"""


def test_every_line_written_before_a_sigkill_is_read(tmp_path: Path) -> None:
    for life in range(5):
        path = tmp_path / f"{life}.jsonl"
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while path.stat().st_size < 20_000 * (life + 1):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        jobs = [int(getattr(op, "job", "-1")) for op in load([path]).ops]
        assert jobs == list(range(len(jobs)))
        assert len(jobs) > 50


def test_a_disk_that_takes_half_a_line_is_an_error(tmp_path: Path) -> None:
    script = f"""
import resource, signal
from sims.history import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
Recorder({str(tmp_path / "a.jsonl")!r}, "a").write("workload", "ok", val="x" * 100)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        timeout=30,
        check=False,
    )
    assert "wrote 50 of" in done.stderr
    assert load([tmp_path]).torn == [str(tmp_path / "a.jsonl")]


def test_every_kind_of_line_can_be_read() -> None:
    assert set(BY_KIND) == {kind_of(line_class) for line_class in KINDS}
    assert len(BY_KIND) == len(KINDS)
    decoder = msgspec.json.Decoder(AnyLine)
    needed = {
        "job": "j",
        "key": "k",
        "val": "v",
        "fence": 1,
        "pid": 1,
        "ek": "e",
        "node": "n",
        "boot": 1,
        "count": 1,
        "tok": 1,
    }
    for line_class in KINDS:
        required = {name: needed.get(name, 1) for name in _required(line_class)}
        line = line_class(
            **{**required, "t": 1, "p": "a", "type": "ok", **({"kind": "kill"} if "kind" in required else {})}
        )
        assert decoder.decode(msgspec.json.encode(line)) == line


def _required(line_class: type) -> list[str]:
    return [field.name for field in msgspec.structs.fields(line_class) if field.required]
