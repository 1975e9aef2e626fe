"""A scripted HTTP server for tests of the HTTP doors: real sockets, answers as they are told.

`HttpPeer(answer)`: `answer(Heard)` gives a Reply, Raw bytes, or None: the connection is closed without a word. What came in is in `heard`,
with the number of the connection that it came over. `stop()` is a server that died, `start()` its next life at the same port.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Heard:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    line: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """`body`: anything JSON can say."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        body = b"" if self.body is None else json.dumps(self.body).encode()
        head = {"Content-Length": str(len(body)), "Content-Type": "application/json", **self.headers}
        lines = [f"HTTP/1.1 {self.status} As told", *(f"{name}: {text}" for name, text in head.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Raw:
    data: bytes
    closes: bool = True


Answer = Callable[[Heard], Reply | Raw | None]


def problem(status: int, code: str, detail: str = "as told", **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply({"title": "Told", "status": status, "detail": detail, "code": code}, status, named)


class HttpPeer:
    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self._tls = answer, tls
        self.heard: list[Heard] = []
        self._port = 0
        self.start()

    def __enter__(self) -> HttpPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._lines: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", self._port))
        self._port = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        _close(self._door)
        self._thread.join(10)
        for line in self._lines:
            _close(line)

    def drop_lines(self) -> None:
        """As a server does that has waited long enough."""
        for line in self._lines:
            _close(line)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._serve, args=(line, len(self._lines)), daemon=True).start()

    def _serve(self, line: socket.socket, number: int) -> None:
        try:
            if self._tls:
                line = self._tls.wrap_socket(line, server_side=True)
                self._lines.append(line)
            stream = line.makefile("rb")
            while (heard := _read(stream, number)) is not None:
                self.heard.append(heard)
                reply = self.answer(heard)
                if reply is not None:
                    line.sendall(reply.data if isinstance(reply, Raw) else reply.data())
                if reply is None or (isinstance(reply, Raw) and reply.closes):
                    return
        except (OSError, ValueError):
            pass
        finally:
            _close(line)


def _close(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    line.close()


def _read(stream: Any, number: int) -> Heard | None:
    first = stream.readline().decode().split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while text := stream.readline().decode().strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Heard(first[0], first[1], headers, body, number)
