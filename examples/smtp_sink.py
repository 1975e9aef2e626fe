"""A mail server that keeps what it gets: just enough SMTP for smtplib, in a thread of its own.

Like real servers it is not always willing: addresses of `busy.example` are put off once each with 451, those of
`gone.example` are refused with 550 for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MAIL_BYTES_MAX = 1 << 20


@dataclass
class Sink:
    """`mails`: (recipient, text) of every mail taken. `put_off`: addresses that were told to come again."""

    address: str = ""
    mails: list[tuple[str, str]] = field(default_factory=list)
    put_off: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipient = ""

        def answer(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        answer("220 sink")
        while line := (await reader.readline()).decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                recipient = line.partition("<")[2].partition(">")[0]
                answer(self._judge(recipient))
            elif verb == "DATA":
                answer("354 go on")
                text = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append((recipient, text.decode()))
                answer("250 taken")
            elif verb == "QUIT":
                answer("221 bye")
                break
            else:
                answer("250 ok")
        writer.close()

    def _judge(self, recipient: str) -> str:
        if recipient.endswith("@gone.example"):
            return "550 no such mailbox"
        if recipient.endswith("@busy.example") and recipient not in self.put_off:
            self.put_off.add(recipient)
            return "451 busy, come again later"
        return "250 ok"


@contextmanager
def smtp_sink() -> Iterator[Sink]:
    sink, up, loop = Sink(), threading.Event(), asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=MAIL_BYTES_MAX)
        host, port = server.sockets[0].getsockname()
        sink.address = f"{host}:{port}"
        up.set()
        return server

    def run() -> None:
        server = loop.run_until_complete(start())
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    up.wait(10)
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
