"""The Lua files: put together from their parts, called by hash, loaded again when the server does not know them.

A script's first line names the parts it uses (`-- use: clock level`). Those that bring nothing new must run at `maxmemory` too. On Redis 7
they say so by a flag; without flags a removal of a key that never exists comes first, which has the same effect: such a script is refused
at its first growing write unless it wrote already.

Those that only read have neither; on Redis 7 they say that they write nothing. A server that cannot save its data (mostly since its disk is
full) takes no writes: from 7 on it refuses every other script that has flags, before 7 each script at its first write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from .lane import Command, Lane

GROWING = {"submit", "requeue", "append_events", "fire", "rights"}
"""Refused at `maxmemory`, whole: what brings more than there was. Records take the place of finished jobs, so they are not refused: with
the outbox at its bound nothing would be claimed any more, and no memory become free. `rights` only tries, and must run as it stands."""
READING = {"counts", "get", "later", "list", "listed", "newest", "seek"}
"""What writes nothing, so it is answered whatever the server's memory and disk are like."""
FLAGS, READING_FLAGS = "#!lua flags=allow-oom\n", "#!lua flags=no-writes\n"
REMOVAL = "redis.call('UNLINK', KEYS[1] .. 'never')\n"


class Script:
    def __init__(self, package: str, name: str, prefix: bytes, *, has_flags: bool) -> None:
        self.name = name
        self.text = _assemble(package, name, has_flags)
        self._prefix = prefix
        self._sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()

    def command(self, arguments: Sequence[Any]) -> Command:
        return (b"EVALSHA", self._sha, b"1", self._prefix, *arguments)

    def retelling(self, arguments: list[Any], repeat_at: int | None) -> Callable[[bool], Command]:
        """For a lane. The argument at `repeat_at`, if any, tells the script whether this is a repeat."""

        def make(is_repeat: bool) -> Command:
            if is_repeat and repeat_at is not None:
                arguments[repeat_at] = b"1"
            return self.command(arguments)

        return make

    def load(self) -> Sequence[Command]:
        return ((b"SCRIPT", b"LOAD", self.text.encode()),)


class Scripts:
    """`await scripts("claim", lane, arguments)`. `package`: whose `lua` folder it is."""

    def __init__(self, package: str, prefix: bytes, *, has_flags: bool) -> None:
        self._package, self._prefix, self._has_flags = package, prefix, has_flags
        self._known: dict[str, Script] = {}

    def __getitem__(self, name: str) -> Script:
        script = self._known.get(name)
        if script is None:
            script = self._known[name] = Script(self._package, name, self._prefix, has_flags=self._has_flags)
        return script

    async def __call__(self, name: str, lane: Lane, arguments: Sequence[Any]) -> Any:
        script = self[name]
        return await lane.call(lambda _: script.command(arguments), script.load)

    async def told(self, name: str, lane: Lane, arguments: Sequence[Any]) -> tuple[bytes, Any]:
        """With whose answer it is: see `Lane.told`."""
        script = self[name]
        return await lane.told(lambda _: script.command(arguments), script.load)

    async def retold(self, name: str, lane: Lane, arguments: list[Any], repeat_at: int | None) -> Any:
        """As a script is called that may have to know whether this is a repeat."""
        script = self[name]
        return await lane.call(script.retelling(arguments, repeat_at), script.load)


def names(package: str) -> list[str]:
    folder = resources.files(package) / "lua"
    found = (entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua"))
    return sorted(name for name in found if not name.startswith("part_"))


def _assemble(package: str, name: str, has_flags: bool) -> str:
    body = _read(package, name)
    first = body.partition("\n")[0]
    parts = first.removeprefix("-- use:").split() if first.startswith("-- use:") else []
    text = "".join(_read(package, f"part_{part}") for part in parts) + body
    if name in GROWING:
        return text
    if name in READING:
        return READING_FLAGS + text if has_flags else text
    return FLAGS + text if has_flags else REMOVAL + text


def _read(package: str, name: str) -> str:
    """A part that several packages use is this one's."""
    found = resources.files(package) / "lua" / f"{name}.lua"
    if not found.is_file():
        found = resources.files(__package__) / "lua" / f"{name}.lua"
    return found.read_text(encoding="utf-8")
