"""docs/wire.md is true: its tables are those of the messages, its bytes decode to what it says, its program is understood."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.wire.grammar import PAGE, PARTS, SHAPES, filled
from zjp.job import JobSpec, Limits, Options, check_spec
from zjp.wire import codec
from zjp.wire.messages import PROTOCOL_VERSION, Durability, Envelope, Failure, Request, Submit, SubmitReply

pytestmark = pytest.mark.covers("main-path:3")

TEXT = PAGE.read_text()
JOB_ID = bytes.fromhex("0197a3f000007abc8def012300000001")
DEADLINE_MS = 20_000


def bytes_of(block: str) -> bytes:
    """The bytes of a commented hex block: pairs of digits up to the first wide gap."""
    found = re.search(rf"```hex {block}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None, block
    lines = [re.match(r" *((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", line) for line in found[1].splitlines()]
    return bytes.fromhex("".join(line[1] for line in lines if line is not None))


def test_page_is_up_to_date() -> None:
    assert filled(TEXT) == TEXT, "run python -m tests.wire.grammar"


def test_page_holds_every_made_part_and_names_the_version() -> None:
    assert [part for part in PARTS if f"<!-- {part} -->\n" not in TEXT] == []
    assert f"Version {PROTOCOL_VERSION}." in TEXT


def test_every_shape_that_a_client_meets_is_drawn() -> None:
    tables = TEXT.partition("## Node and worker process")[0]
    named = set(re.findall(r"\b(?:Job|Options|Filter|View|Attempt|Fault|Submitted|QueueCount)\b", tables))
    assert named <= set(SHAPES.values())


def test_bytes_of_the_example_are_the_submit_that_the_page_says() -> None:
    envelope = codec.decode_envelope([bytes_of("envelope"), b""], "zjp")
    assert envelope == Envelope(1, "zjp", "example", 0, 1)
    request = codec.decode_request(bytes_of("request"))
    payload = msgspec.msgpack.encode({"recipient": "a@example.com", "subject": "hi"})
    assert request == Submit([JobSpec(JOB_ID, "email", payload, "default", 10, Options(delay_ms=5_000))])
    check_spec(request.jobs[0], Limits())
    assert codec.encode(envelope, request)[1] == bytes_of("request")


def test_bytes_of_the_answer_are_the_reply_that_the_page_says() -> None:
    assert codec.decode_reply(bytes_of("reply")) == SubmitReply(Durability.DISK)


# ── the program ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def submit_email(tmp_path: Path) -> Callable[[str, str], bytes]:
    """The page's program, loaded from a file as a reader would."""
    source = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert source is not None
    file = tmp_path / "submit_from_any_language.py"
    file.write_text(source[1])
    made = importlib.util.spec_from_file_location(file.stem, file)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    submit: Callable[[str, str], bytes] = module.submit_email
    return submit


class AnsweringNode:
    """One ROUTER that answers one request as told; what it was asked is kept."""

    def __init__(self, answer: SubmitReply | Failure) -> None:
        self.asked: list[Request] = []
        self._answer = answer
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind("tcp://127.0.0.1:*")
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        if self._socket.poll(DEADLINE_MS):
            identity, *frames = self._socket.recv_multipart()
            envelope = codec.decode_envelope(frames, "zjp")
            self.asked.append(codec.decode_request(frames[1]))
            head = Envelope(PROTOCOL_VERSION, "zjp", "n-1", 1, envelope.seq)
            self._socket.send_multipart([identity, *codec.encode(head, self._answer)])

    def close(self) -> None:
        self._thread.join()
        self._socket.close()
        self._context.term()


def test_program_of_the_page_submits_a_valid_job(submit_email: Callable[[str, str], bytes]) -> None:
    node = AnsweringNode(SubmitReply(Durability.DISK))
    job_id = submit_email(node.address, "a@example.com")
    node.close()
    (request,) = node.asked
    assert isinstance(request, Submit)
    assert [job.id for job in request.jobs] == [job_id]
    check_spec(request.jobs[0], Limits())
    assert msgspec.msgpack.decode(request.jobs[0].payload) == {"recipient": "a@example.com", "subject": "hi"}


def test_program_of_the_page_reads_a_failure(submit_email: Callable[[str, str], bytes]) -> None:
    node = AnsweringNode(Failure("invalid", "priority is 99, it must be 1 (low) to 10 (high)"))
    with pytest.raises(RuntimeError, match="invalid: priority is 99"):
        submit_email(node.address, "a@example.com")
    node.close()
