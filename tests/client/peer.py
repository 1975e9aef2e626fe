"""A scripted node for protocol tests: a real ROUTER in a thread that speaks the codec and answers as it was told.

`Peer(answer)`: `answer(request)` gives the reply; None says nothing; a list of replies sends them all (the first is right, the others
are repeats); `Raw` sends frames as they are. What came in is in `heard`. `stop()` is a node that died, `start()` its next life at the same
address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import zmq

from zjp.job import JobFault, JobSpec, JobState, JobView, StoredJob, view_live
from zjp.wire import messages as m
from zjp.wire.codec import decode_envelope, decode_request, encode

CLUSTER = "zjp"


@dataclass(frozen=True)
class Raw:
    frames: list[bytes]


Answer = Callable[[m.Request], Any]


class Peer:
    def __init__(
        self, answer: Answer | None = None, *, address: str = "tcp://127.0.0.1:*", cluster: str = CLUSTER
    ) -> None:
        self.answer: Answer = answer or MemoryNode()
        self.address, self._cluster = address, cluster
        self.heard: list[tuple[m.Envelope, m.Request]] = []
        self._changed = threading.Condition()
        self.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stop = threading.Event()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bound,), daemon=True)
        self._thread.start()
        assert bound.wait(10)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def requests(self, kind: type[Any]) -> list[Any]:
        return [request for _, request in self.heard if isinstance(request, kind)]

    def wait_for(self, kind: type[Any], count: int = 1) -> list[Any]:
        """Requests of this kind, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests(kind)) >= count, 20)
        return self.requests(kind)

    def _run(self, bound: threading.Event) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.ROUTER)
        socket.linger = 0
        give_up_at = time.monotonic() + 10
        while True:
            try:
                socket.bind(self.address)
                break
            except zmq.ZMQError:
                assert time.monotonic() < give_up_at
        self.address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        bound.set()
        while not self._stop.is_set():
            if socket.poll(20):
                self._handle(socket, socket.recv_multipart())
        socket.close(0)
        context.term()

    def _handle(self, socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        identity, *rest = frames
        envelope = decode_envelope(rest, CLUSTER)
        request = decode_request(rest[1])
        answer = self.answer(request)
        with self._changed:
            self.heard.append((envelope, request))
            self._changed.notify_all()
        for reply in answer if isinstance(answer, list) else [answer]:
            if isinstance(reply, Raw):
                socket.send_multipart([identity, *reply.frames])
            elif reply is not None:
                back = m.Envelope(m.PROTOCOL_VERSION, self._cluster, "peer", 1, envelope.seq)
                socket.send_multipart([identity, *encode(back, reply)])


def later(code: str, message: str = "not now", retry_after_ms: int = 20) -> m.Failure:
    return m.Failure(code, message, retry_after_ms)


class MemoryNode:
    """Keeps jobs in a dict: enough of a node to talk to. Jobs are finished at once, with their payload as the result, unless
    `finishes` is false; then `finish` does it. A wait is answered at once with what is final."""

    def __init__(self) -> None:
        self.jobs: dict[bytes, JobView] = {}
        self.specs: dict[bytes, JobSpec] = {}
        self.finishes = True
        self.views_max = 1000
        """In one answer to a Get."""
        self.paused: set[str] = set()
        self._answers: dict[type, Callable[[Any], Any]] = {
            m.Submit: self.submit,
            m.Get: lambda request: m.Jobs([self.jobs.get(job_id) for job_id in request.ids[: self.views_max]]),
            m.Wait: self.wait,
            m.Cancel: lambda request: m.Verdicts([self.cancel(job_id) for job_id in request.ids]),
            m.AskRuns: lambda request: m.Runs([self.jobs[one].run if one in self.jobs else -1 for one in request.ids]),
            m.Requeue: lambda request: m.Verdicts([self.requeue(job_id) for job_id in request.ids]),
            m.Promote: lambda request: m.Verdicts(
                ["promoted" if one in self.jobs else "not-delayed" for one in request.ids]
            ),
            m.List: self.page,
            m.Queues: lambda request: m.QueueCounts(
                [m.QueueCount("default", 1, 2, 3, 4, "default" in self.paused, 0.5)]
            ),
            m.Pause: lambda request: (self.paused.add(request.queue), m.Done())[1],
            m.Resume: lambda request: (self.paused.discard(request.queue), m.Done())[1],
            m.Purge: lambda request: m.Done(len(self.jobs)),
            m.AskStats: lambda request: m.Stats(msgspec.msgpack.encode({"node": {"id": "peer"}})),
            m.Ping: lambda request: m.Pong("peer", "0", m.Durability.DISK, False, ["email"]),
        }

    def __call__(self, request: m.Request) -> Any:
        return self._answers[type(request)](request)

    def finish(self, job_id: bytes, state: JobState, *, result: bytes = b"", error: JobFault | None = None) -> None:
        self.jobs[job_id] = msgspec.structs.replace(
            self.jobs[job_id], status=state, result=result, error=error, finished_ms=1_700_000_001_500
        )

    def submit(self, request: m.Submit) -> m.SubmitReply:
        others = []
        for index, spec in enumerate(request.jobs):
            if spec.id in self.jobs:
                others.append((index, m.Submitted(spec.id, m.SubmitKind.EXISTED)))
                continue
            self.specs[spec.id] = spec
            self.jobs[spec.id] = view_live(StoredJob(spec, 1_700_000_000_000), JobState.PENDING)
            if self.finishes:
                self.finish(spec.id, JobState.COMPLETED, result=spec.payload)
        return m.SubmitReply(m.Durability.DISK, others)

    def wait(self, request: m.Wait) -> m.Jobs:
        found = [self.jobs.get(job_id) for job_id in request.ids]
        return m.Jobs([view for view in found if view is None or view.status.is_final])

    def cancel(self, job_id: bytes) -> str:
        if job_id not in self.jobs:
            return "unknown"
        if self.jobs[job_id].status.is_final:
            return "finished"
        self.finish(job_id, JobState.CANCELLED)
        return "cancelled"

    def requeue(self, job_id: bytes) -> str:
        view = self.jobs.get(job_id)
        if view is None:
            return "unknown"
        if not view.status.is_final:
            return "live"
        self.finish(job_id, JobState.PENDING)
        return "requeued"

    def page(self, request: m.List) -> m.Page:
        """The cursor is the number of jobs shown so far."""
        fitting = [view for view in self.jobs.values() if not request.wanted.type or view.type == request.wanted.type]
        first = int(request.cursor or b"0")
        last = first + request.limit
        return m.Page(fitting[first:last], str(last).encode() if last < len(fitting) else b"", len(fitting))
