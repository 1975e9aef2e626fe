"""The hops of the whole path at full load, with none of zjp's promises: what this machine charges for the design itself.

    producer ──DEALER──► ROUTER, node ──► store ──► PUSH ──ipc──► PULL, two workers ──PUSH──► PULL, node ──► store

Batches of 100 and the window of whole_path.py; msgspec, pyzmq, hiredis or sqlite3, one thread a process. The store keeps each job
from its submit until its record is written, in the same server or file. There are no ids that may come again, no fence, no lease, no
retry, no priorities, no credit, no counters and no time-outs. So its cost is a floor of zjp's, and moves with the machine.
"""
from __future__ import annotations

import multiprocessing
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import hiredis
import msgspec
import zmq

from .running import cpu_s
from .whole_path import WINDOW

WORKERS = 2
PREFETCH = 256
"""Jobs that a worker may hold."""
END = b""
LIMIT_S = 120.0
CLAIM = (
    b"local ids = redis.call('LPOP', 'q', ARGV[1]) if not ids then return {} end "
    b"redis.call('SADD', 'c', unpack(ids)) return redis.call('HMGET', 'j', unpack(ids))"
)


class Job(msgspec.Struct, array_like=True, gc=False):
    id: bytes
    type: str
    queue: str
    priority: int
    payload: bytes


class Ran(msgspec.Struct, array_like=True, gc=False):
    id: bytes
    started_us: int
    ended_us: int
    result: bytes


encode = msgspec.msgpack.Encoder().encode
decode_jobs = msgspec.msgpack.Decoder(list[Job]).decode
decode_ran = msgspec.msgpack.Decoder(list[Ran]).decode


class Store(Protocol):
    """Values are encoded jobs. `finish` keeps (id, record) and forgets the jobs."""

    def add(self, jobs: Sequence[Job]) -> None: ...

    def claim(self, count: int) -> Sequence[bytes]: ...

    def finish(self, ids: Sequence[bytes], records: Sequence[bytes]) -> None: ...


class RedisStore:
    """`address`: the path of a server's socket."""

    def __init__(self, address: str) -> None:
        self._socket, self._reader = socket.socket(socket.AF_UNIX), hiredis.Reader()
        self._socket.connect(address)

    def _ask(self, *commands: tuple[Any, ...]) -> Any:
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 20))
            elif isinstance(answer, Exception):
                raise answer
            else:
                answers.append(answer)
        return answers[-1]

    def add(self, jobs: Sequence[Job]) -> None:
        pairs = [part for job in jobs for part in (job.id, encode(job))]
        self._ask((b"MULTI",), (b"HSET", b"j", *pairs), (b"RPUSH", b"q", *pairs[::2]), (b"EXEC",))

    def claim(self, count: int) -> Sequence[bytes]:
        claimed: Sequence[bytes] = self._ask((b"EVAL", CLAIM, 0, count))
        return claimed

    def finish(self, ids: Sequence[bytes], records: Sequence[bytes]) -> None:
        pairs = [part for pair in zip(ids, records, strict=True) for part in pair]
        self._ask((b"MULTI",), (b"HSET", b"r", *pairs), (b"HDEL", b"j", *ids), (b"SREM", b"c", *ids), (b"EXEC",))


class SqliteStore:
    """`address`: the path of a file. synchronous=FULL."""

    def __init__(self, address: str) -> None:
        self._file = sqlite3.connect(address, isolation_level=None)
        self._file.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE j (seq INTEGER PRIMARY KEY, id BLOB, value BLOB); CREATE TABLE r (seq INTEGER PRIMARY KEY, id BLOB, value BLOB);"
        )
        self._last, self._seqs = 0, dict[bytes, int]()

    def add(self, jobs: Sequence[Job]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO j (id, value) VALUES (?, ?)", [(job.id, encode(job)) for job in jobs])
        self._file.execute("COMMIT")

    def claim(self, count: int) -> Sequence[bytes]:
        rows = self._file.execute("SELECT seq, id, value FROM j WHERE seq > ? ORDER BY seq LIMIT ?", (self._last, count)).fetchall()
        if rows:
            self._last = rows[-1][0]
            self._seqs.update((job_id, seq) for seq, job_id, _ in rows)
        return [value for *_, value in rows]

    def finish(self, ids: Sequence[bytes], records: Sequence[bytes]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO r (id, value) VALUES (?, ?)", zip(ids, records, strict=True))
        self._file.executemany("DELETE FROM j WHERE seq = ?", [(self._seqs.pop(job_id),) for job_id in ids])
        self._file.execute("COMMIT")


def bare(*, jobs: int, batch: int, redis_path: str = "", redis_pid: int = 0) -> dict[str, float]:
    """CPU us per job of each process, and jobs/s. `redis_path`: the socket of an empty server; else a file of SQLite."""
    with tempfile.TemporaryDirectory(prefix="zjp-bare-") as folder:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        node = spawn.Process(target=_serve, args=(folder, redis_path, jobs, theirs), daemon=True)
        workers = [spawn.Process(target=_worker, args=(folder, number), daemon=True) for number in range(WORKERS)]
        producer = spawn.Process(target=_produce, args=(folder, jobs, batch), daemon=True)
        for process in (node, *workers):
            process.start()
        pids: dict[str, list[Any]] = {"node": [node.pid], "workers": [worker.pid for worker in workers]}
        if redis_pid:
            pids["redis"] = [redis_pid]
        if not ours.poll(LIMIT_S):
            raise RuntimeError("the bare node did not start")
        ours.recv()
        before, began = {name: sum(map(cpu_s, of)) for name, of in pids.items()}, time.monotonic()
        producer.start()
        if not ours.poll(LIMIT_S):
            raise RuntimeError("the bare path did not end")
        producer_s = ours.recv()
        took_s = time.monotonic() - began
        cost = {f"{name}_us": (sum(map(cpu_s, of)) - before[name]) / jobs * 1e6 for name, of in pids.items()}
        cost["producer_us"] = producer_s / jobs * 1e6
        ours.send(END)
        for process in (node, *workers, producer):
            process.join(10)
    return {"jobs_per_s": jobs / took_s, **cost, "total_us": sum(cost.values())}


def _socket(kind: int, address: str, *, binds: bool) -> zmq.Socket[bytes]:
    one: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    one.set_hwm(0)
    if binds:
        one.bind(address)
    else:
        one.connect(address)
    return one


def _produce(folder: str, jobs: int, batch: int) -> None:
    door = _socket(zmq.DEALER, f"ipc://{folder}/door", binds=False)
    mine, sent, answered = os.urandom(8), 0, 0
    began = time.process_time()
    while answered < jobs:
        while sent < jobs and sent - answered < WINDOW * batch:
            count = min(batch, jobs - sent)
            door.send(encode([Job(mine + (sent + at).to_bytes(8, "big"), "noop", "default", 5, b"\x92\x90\x80") for at in range(count)]))
            sent += count
        answered += int(door.recv())
    door.send(b"cpu %f" % (time.process_time() - began))
    door.close(linger=-1)


def _worker(folder: str, number: int) -> None:
    inbox, back = _socket(zmq.PULL, f"ipc://{folder}/w{number}", binds=False), _socket(zmq.PUSH, f"ipc://{folder}/back", binds=False)
    while (message := inbox.recv()) != END:
        results = []
        for job in decode_jobs(message):
            started_us = time.time_ns() // 1000
            msgspec.msgpack.decode(job.payload)
            results.append(Ran(job.id, started_us, time.time_ns() // 1000, b"\xc0"))
        back.send(b"%c%b" % (number, encode(results)))
    back.close(linger=0)


class _Node:
    """One thread: takes what there is from all sides, then asks the store once for each kind of it."""

    def __init__(self, folder: str, store: Store) -> None:
        self._store = store
        self._door = _socket(zmq.ROUTER, f"ipc://{folder}/door", binds=True)
        self._back = _socket(zmq.PULL, f"ipc://{folder}/back", binds=True)
        self._workers = [_socket(zmq.PUSH, f"ipc://{folder}/w{number}", binds=True) for number in range(WORKERS)]
        self._room, self._held = [PREFETCH] * WORKERS, dict[bytes, Job]()
        self._waiting = self._finished = 0
        self._producer_s: float | None = None

    def run(self, jobs: int) -> float:
        """CPU seconds of the producer."""
        poller = zmq.Poller()
        poller.register(self._door, zmq.POLLIN)
        poller.register(self._back, zmq.POLLIN)
        while self._finished < jobs or self._producer_s is None:
            poller.poll()
            self._take_in()
            self._take_back()
            if self._waiting and any(self._room):
                self._hand_out()
        return self._producer_s

    def _take_in(self) -> None:
        added, answers = list[Job](), list[tuple[bytes, int]]()
        for sender, message in _messages(self._door):
            if message.startswith(b"cpu "):
                self._producer_s = float(message[4:])
                continue
            found = decode_jobs(message)
            added += found
            answers.append((sender, len(found)))
        if added:
            self._store.add(added)
            self._waiting += len(added)
        for sender, count in answers:
            self._door.send_multipart((sender, b"%d" % count))

    def _take_back(self) -> None:
        ran = list[Ran]()
        for (message,) in _messages(self._back):
            results = decode_ran(message[1:])
            self._room[message[0]] += len(results)
            ran += results
        if ran:
            self._store.finish([one.id for one in ran], [encode((self._held.pop(one.id), one)) for one in ran])
            self._finished += len(ran)

    def _hand_out(self) -> None:
        values = self._store.claim(min(self._waiting, sum(self._room)))
        claimed = decode_jobs(b"".join((b"\xdd" + len(values).to_bytes(4, "big"), *values)))
        self._waiting -= len(claimed)
        self._held.update([(job.id, job) for job in claimed])
        for number in sorted(range(WORKERS), key=self._room.__getitem__):
            share, claimed = claimed[: self._room[number]], claimed[self._room[number] :]
            if share:
                self._room[number] -= len(share)
                self._workers[number].send(encode(share))

    def end(self) -> None:
        for worker in self._workers:
            worker.send(END)


def _messages(one: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    while int(one.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        yield one.recv_multipart()


def _serve(folder: str, redis_path: str, jobs: int, told: Connection) -> None:
    node = _Node(folder, RedisStore(redis_path) if redis_path else SqliteStore(str(Path(folder) / "queue.db")))
    told.send(None)
    told.send(node.run(jobs))
    told.recv()
    node.end()
    zmq.Context.instance().destroy(linger=1000)
