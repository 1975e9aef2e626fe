"""A scripted node for protocol tests: a real ROUTER in a thread that speaks the codec and answers as it was told.

`Peer(answer)`: `answer(request)` gives the reply; None says nothing; a list of replies sends them all (the first is right, the others are
repeats); `Raw` sends frames as they are. What came in is in `heard`. `stop()` is a node that died, `start()` its next life at the same address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from zjp.job import JobSpec, JobState, JobView
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


@dataclass
class MemoryNode:
    """Keeps jobs in a dict: enough of a node to talk to. `finish` makes a job final; a wait for others is answered with nothing at once."""

    jobs: dict[bytes, JobView] = field(default_factory=dict)
    finish_at_once: bool = True

    def __call__(self, request: m.Request) -> Any:
        handler = getattr(self, "on_" + type(request).__name__.lower(), None)
        if handler is None and isinstance(request, m.Ping):
            return m.Pong("peer", "0", m.Durability.DISK, False, [])
        assert handler is not None, request
        return handler(request)

    def on_submit(self, request: m.Submit) -> m.SubmitReply:
        others = []
        for index, spec in enumerate(request.jobs):
            if spec.id in self.jobs:
                others.append((index, m.Submitted(spec.id, m.SubmitKind.EXISTED)))
            else:
                self.jobs[spec.id] = _view(spec, JobState.COMPLETED if self.finish_at_once else JobState.PENDING)
        return m.SubmitReply(m.Durability.DISK, others)

    def on_get(self, request: m.Get) -> m.Jobs:
        return m.Jobs([self.jobs.get(job_id) for job_id in request.ids])

    def on_wait(self, request: m.Wait) -> m.Jobs:
        found = [self.jobs.get(job_id) for job_id in request.ids]
        return m.Jobs([view for view in found if view is None or view.status.is_final])


def _view(spec: JobSpec, state: JobState) -> JobView:
    return JobView(
        id=spec.id,
        type=spec.type,
        queue=spec.queue,
        priority=spec.priority,
        status=state,
        payload=spec.payload,
        created_ms=1_700_000_000_000,
        result=spec.payload if state is JobState.COMPLETED else b"",
    )
