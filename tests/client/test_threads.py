"""One `Client` under threads, signals and forks: whoever waits works for all, and nothing is left broken."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from tests.client.peer import MemoryNode, Peer
from zjp import Client
from zjp.errors import InvalidJob, NodeUnreachable
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("main-path:9", "client:deadlines")


def test_threads_share_a_client_and_each_gets_its_own_answer(client: Client) -> None:
    def submit_and_read(number: int) -> bool:
        job = client.submit("email", {"n": number})
        return bool(client.result(job, timeout=30) == {"n": number})

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(submit_and_read, range(300)))


def test_submits_of_waiting_threads_travel_together(client: Client, peer: Peer, node: MemoryNode) -> None:
    """Held answers fill the window of four; the others gather and leave as one."""
    release = threading.Event()

    def hold(request: m.Request) -> Any:
        assert release.wait(20)
        return node(request)

    client.ping()
    peer.answer = hold
    with ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(client.submit, "email", {"n": number}) for number in range(20)]
        gathered = client._door.session._gathered.submits  # type: ignore[attr-defined]
        give_up_at = time.monotonic() + 20
        while len(gathered) < 16 and time.monotonic() < give_up_at:
            os.sched_yield()
        release.set()
        assert len({job.result().id for job in jobs}) == 20
    assert [len(request.jobs) for request in peer.requests(m.Submit)] == [1, 1, 1, 1, 16]


def test_a_thread_that_leaves_early_hands_the_work_on(client: Client, peer: Peer, node: MemoryNode) -> None:
    """The first to wait leads; when its deadline passes, another must take over and hear its answer."""
    release = threading.Event()

    def hold(request: m.Request) -> Any:
        if isinstance(request, m.Submit):
            return None
        assert release.wait(20)
        return node(request)

    client.ping()
    peer.answer = hold
    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(client.submit, "email", deadline=0.3)
        peer.wait_for(m.Submit)
        long = pool.submit(client.queues)
        assert isinstance(short.exception(20), TimeoutError)
        release.set()
        assert long.result(20)


def test_closing_wakes_whoever_waits(client: Client, peer: Peer) -> None:
    peer.answer = lambda request: None
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.ping) for _ in range(3)]
        peer.wait_for(m.Ping, 3)
        client.close()
        assert all(isinstance(one.exception(20), RuntimeError) for one in waiting)


class Interrupted(Exception):
    """What the signal of a test raises, wherever the main thread is."""


def test_ctrl_c_leaves_the_client_usable(client: Client, peer: Peer, node: MemoryNode) -> None:
    """The signal comes while the client sleeps on the wire, once the request is out."""

    def interrupt(request: m.Request) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(5):
        peer.answer = interrupt
        with pytest.raises(KeyboardInterrupt):
            client.submit("email")
        peer.answer = node
        assert client.result(client.submit("email", {"n": 1}), timeout=30) == {"n": 1}


def test_an_interrupt_at_any_moment_leaves_the_client_usable(client: Client) -> None:
    """Signals from a timer of the process's CPU time hit whatever the client is doing, also in the middle of a turn."""
    fired = 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal fired
        fired += 1
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    gc.disable()  # the interpreter swallows what is raised inside a callback of its collector, and hypothesis hangs one there
    try:
        for number in range(100):
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + number * 0.000_01)
                while fired == number:
                    client.submit("email", {"n": number})
            except Interrupted:
                pass
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        gc.enable()
        signal.signal(signal.SIGVTALRM, before)
    assert fired == 100
    assert client.result(client.submit("email", {"n": 1}), timeout=30) == {"n": 1}


def test_no_interrupt_is_lost_where_messages_are_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyzmq runs signal handlers where it frees a frame, and what one raises there is swallowed by the interpreter: none is made."""
    copied: list[bool] = []
    receive = zmq.Socket.recv

    def recv(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        copied.append(copy)
        return receive(self, flags, copy=copy, track=track)

    monkeypatch.setattr(zmq.Socket, "recv", recv)
    client.ping()
    assert copied
    assert all(copied)


@contextmanager
def handling(number: signal.Signals, handler: Callable[[], object]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(number, before)


def test_a_handler_uses_the_client_that_its_thread_is_waiting_on(client: Client, peer: Peer, node: MemoryNode) -> None:
    """As a program does that cancels its job when it is told to end."""
    job = client.submit("email", {"n": 1})
    told: list[object] = []
    asked = threading.Event()

    def answer(request: m.Request) -> Any:
        """Nothing to the ping until the handler has had its answers."""
        if isinstance(request, m.Ping) and not asked.is_set():
            asked.set()
            os.kill(os.getpid(), signal.SIGUSR1)
            return None
        return node(request)

    def handler() -> None:
        told.extend([client.get(job.id).id, client.submit("email", {"n": 2}).id])

    peer.answer = answer
    with handling(signal.SIGUSR1, handler), pytest.raises(NodeUnreachable, match=r"not answered within 2\.0 s"):
        client._door.ask(m.Ping(), 2.0)  # its own deadline, which the handler does not take away
    assert told[0] == job.id
    assert client.result(str(told[1]), timeout=30) == {"n": 2}
    assert client.ping()


def test_a_handler_may_use_the_client_at_any_moment(client: Client) -> None:
    """Signals from a timer of the process's CPU time hit whatever the client is doing, also in the middle of a turn."""
    ids: list[str] = []
    with handling(signal.SIGVTALRM, lambda: ids.append(client.submit("email", {"n": -1}).id)):
        for number in range(40):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + number * 0.000_02)
            while len(ids) == number:
                ids_before = len(ids)
                job = client.submit("email", {"n": number})
                assert job.id not in ids[:ids_before]
    assert len(set(ids)) == 40
    assert all(client.result(one, timeout=30) == {"n": -1} for one in ids)


def test_a_handler_may_close_the_client_that_its_thread_is_waiting_on(client: Client, peer: Peer) -> None:
    def answer(request: m.Request) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    peer.answer = answer
    with handling(signal.SIGUSR1, client.close), pytest.raises(RuntimeError, match="closed"):
        client.ping()
    with pytest.raises(RuntimeError, match="closed"):
        client.ping()


def test_a_forked_child_starts_anew_and_the_parent_goes_on(client: Client, node: MemoryNode) -> None:
    parents = [client.submit("email", {"who": "parent"}).id for _ in range(3)]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover (the child is not measured)
        try:
            os.write(writer, client.submit("email", {"who": "child"}).id.encode())
        finally:
            os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with open(reader) as file:
        childs = file.read()
    assert (status, len(childs)) == (0, 36)
    assert childs[14:28] not in {job_id[14:28] for job_id in parents}, "the child's session must differ, or ids collide"
    assert client.get(childs).payload == {"who": "child"}
    assert client.submit("email").id[14:28] == parents[0][14:28]


def test_a_deadline_holds_although_another_thread_waits_longer(peer: Peer) -> None:
    peer.stop()
    with Client(peer.address, cluster="zjp") as client, ThreadPoolExecutor(2) as pool:
        long = pool.submit(client.ping)
        with pytest.raises(NodeUnreachable):
            client.submit("email", deadline=0.2)
        peer.start()
        assert long.result(20).node == "peer"


def test_what_cannot_travel_is_refused_to_its_own_thread_while_others_wait_for_a_node(client: Client, peer: Peer) -> None:
    peer.stop()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.ping)
        give_up_at = time.monotonic() + 20
        while not client._door.session.is_busy and time.monotonic() < give_up_at:  # type: ignore[attr-defined]
            os.sched_yield()
        with pytest.raises(InvalidJob, match="Pause cannot be encoded"):
            client.pause("\ud800")
        assert not waiting.done()
        peer.start()
        assert waiting.result(20).node == "peer"
