"""A program in the HTTP API's place: writes what it is told into a file, a line each, and ends when the pipe does.

stand_in_api.py FILE [EXIT_CODE]     with a code: it ends with it at once; `deaf`: it ignores TERM
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import msgspec


def read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            return b""
        data += part
    return data


def write(path: str, said: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(said) + "\n")


def main(path: str, mode: str = "") -> int:
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: (write(path, {"told": "TERM"}), os._exit(0)))
    write(path, {"pid": os.getpid(), "session": os.getsid(0), "environment": dict(os.environ)})
    if mode.isdigit():
        return int(mode)
    while head := read(4):
        message = msgspec.msgpack.decode(read(int.from_bytes(head, "big")))
        write(path, {**message, "gate": message["gate"].hex()})
    write(path, {"told": "end"})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
