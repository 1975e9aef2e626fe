"""What the node tells the API process it started: one message at first, further ones to read certificates, the keys of tokens and the log
level again, the end of the pipe when the node is gone.

A frame is its length in four bytes, most significant first, then so many bytes of msgpack: a map of `address` (of the node's gate),
`gate` (the token that proves who started us), `node` and `settings` (field name -> text, as the settings' table shows it).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..config import TABLE, Settings
from ..errors import WireError

PREFIX_BYTES = 4
FRAME_BYTES_MAX = 1 << 20
BY_FIELD = {setting.field: setting for setting in TABLE.values()}


class StartMessage(msgspec.Struct, frozen=True):
    address: str
    settings: dict[str, str]
    gate: bytes = b""
    node: str = ""


def read_start(file: int) -> StartMessage | None:
    """The first frame, waiting for it; None when the pipe ends before. Raises: WireError."""
    head = _read_exactly(file, PREFIX_BYTES)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > FRAME_BYTES_MAX:
        raise WireError(f"the start message says it has {size} bytes, the limit is {FRAME_BYTES_MAX}")
    body = _read_exactly(file, size)
    return None if body is None else decode_start(body)


def _read_exactly(file: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(file, size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def decode_start(body: bytes) -> StartMessage:
    try:
        return msgspec.msgpack.decode(body, type=StartMessage)
    except msgspec.MsgspecError as fault:
        raise WireError(f"the start message cannot be read: {fault}; node and API must be of one version") from None


def frame(message: Mapping[str, Any]) -> bytes:
    """What the node writes."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def settings_of(texts: Mapping[str, str]) -> Settings:
    """As the node has them. Raises: ValueError."""
    values: dict[str, Any] = {}
    for field, text in texts.items():
        setting = BY_FIELD.get(field)
        if setting is None or (setting.default is None and text == "none"):
            continue
        values[field] = setting.kind.parse(text)
    return Settings(**values)


class Frames:
    """Further frames, in the loop. `on_frame` for each, `on_end` once."""

    def __init__(self, file: int, on_frame: Callable[[StartMessage], None], on_end: Callable[[], None]) -> None:
        self._file, self._on_frame, self._on_end = file, on_frame, on_end
        self._held = b""

    def start(self) -> None:
        os.set_blocking(self._file, False)
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def _read(self) -> None:
        try:
            part = os.read(self._file, FRAME_BYTES_MAX)
        except BlockingIOError:
            return
        if not part:
            asyncio.get_running_loop().remove_reader(self._file)
            self._on_end()
            return
        self._held += part
        while len(self._held) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(self._held[:PREFIX_BYTES], "big")
            if len(self._held) < end:
                return
            body, self._held = self._held[PREFIX_BYTES:end], self._held[end:]
            self._on_frame(decode_start(body))
