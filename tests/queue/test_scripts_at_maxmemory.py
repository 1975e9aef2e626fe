"""Every script when the server has reached `maxmemory`, at each of its writes: done whole, or refused whole.

The rule of the server: whether there is memory is asked when a script begins, and what grows is refused until the script has written
something, unless its first line says otherwise (Redis 7). So a script that removes first is never cut in two, and one that may be
refused must write nothing before what is refused. That is tried for real, and planted at each write: from the n-th on the rule holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scripts.redis_server import RedisServer
from tests.queue.leader_cases import CASES
from tests.queue.script_cases import Case, World
from tests.redis import allowances
from zjp.errors import StoreFull
from zjp.redis.lane import OOM
from zjp.redis.script import FLAGS, GROWING, Script, Scripts, names

pytestmark = pytest.mark.covers("redis:full")

PACKAGES = ("zjp.queue", "zjp.records")
NEVER = 1_000_000
GUARD = """\
local grows, writes = {{{grows}}}, {{{writes}}}
local made, has_written = 0, false
local function guarded(name, ...)
    if writes[name] then
        made = made + 1
        redis.call('SET', 'writes', made)
        if made >= {nth} and grows[name] and not has_written then
            error("{oom} (planted)")
        end
        has_written = true
    end
    return redis.call(name, ...)
end
"""


class Guarded(Script):
    """The script, with the server's rule holding from its `nth` write on."""

    def __init__(self, script: Script, server: RedisServer, nth: int) -> None:
        grows, writes = (", ".join(f"{name} = true" for name in _flagged(server, flag)) for flag in ("denyoom", "write"))
        guard = GUARD.format(grows=grows, writes=writes, nth=nth, oom=OOM)
        self.name, self._prefix = script.name, script._prefix
        assert not script.text.startswith(FLAGS), "the rule is not for those"
        self.text = guard + script.text.replace("redis.call", "guarded")
        self._sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()


@cache
def _flagged(server: RedisServer, flag: str) -> list[str]:
    """Commands that the scripts use and the server so flags."""
    texts = [Script(package, name, b"", has_flags=False).text for package in PACKAGES for name in names(package)]
    used = {name for text in texts for name in re.findall(r"'([A-Z]{3,})'", text)}
    return [name for name in sorted(used) if flag.encode() in server.send(b"COMMAND", b"INFO", name.encode())]


@contextlib.asynccontextmanager
async def world_of(folder: Path, case: Case, *, has_flags: bool) -> AsyncIterator[tuple[World, Any]]:
    world = World(folder)
    await world.open()
    world.store._scripts._has_flags = has_flags
    world.store._scripts._known.clear()
    try:
        yield world, await case(world)
    finally:
        world.bench.server.send(b"CONFIG", b"SET", b"maxmemory", b"0")
        await world.close()


def scripts_of(world: World, package: str) -> Scripts:
    return world.store._scripts if package == "zjp.queue" else world.records._scripts


def plant(world: World, package: str, name: str, nth: int) -> None:
    scripts = scripts_of(world, package)
    scripts._known[name] = Guarded(scripts[name], world.bench.server, nth)


async def state_of(world: World) -> dict[bytes, Any]:
    """Every key and what it holds, without the order that a hash or a set has by chance."""
    lane = world.store._lane("other")

    async def ask(*command: bytes) -> Any:
        return await lane.call(lambda _: command)

    await ask(b"DEL", b"writes")
    held: dict[bytes, Any] = {}
    for key in await ask(b"KEYS", b"*"):
        kind = await ask(b"TYPE", key)
        if kind == b"hash":
            flat = await ask(b"HGETALL", key)
            held[key] = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
        elif kind == b"set":
            held[key] = set(await ask(b"SMEMBERS", key))
        elif kind == b"zset":
            held[key] = await ask(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")
        elif kind == b"list":
            held[key] = await ask(b"LRANGE", key, b"0", b"-1")
        else:
            held[key] = await ask(b"GET", key)
    return held


async def tried(world: World, deed: Any) -> bool:
    """Whether it was taken."""
    try:
        await deed()
    except StoreFull:
        return False
    return True


def test_every_script_has_a_case() -> None:
    assert {(package, name) for package, name, *_ in CASES} == {(package, name) for package in PACKAGES for name in names(package)}


EACH_CASE = pytest.mark.parametrize(
    ("package", "script", "case"), [(one[0], one[1], one[3]) for one in CASES], ids=[f"{one[1]}: {one[2]}" for one in CASES]
)


@EACH_CASE
@pytest.mark.parametrize("which", ["first and last", pytest.param("each", marks=pytest.mark.slow)])
async def test_script_is_refused_whole_or_carried_out_from_whichever_write_on_there_is_no_memory(
    tmp_path: Path, package: str, script: str, case: Case, which: str
) -> None:
    """Fails on a script that adds before it removes, and on one that writes something small before what may be refused."""
    async with world_of(tmp_path, case, has_flags=False) as (world, deed):
        before = await state_of(world)
        plant(world, package, script, NEVER)
        assert await tried(world, deed)
        told = world.bench.server.send(b"GET", b"writes").split(b"\r\n")
        writes = int(told[1]) if len(told) > 2 else 0
        after = await state_of(world)
    for nth in range(1, writes + 1) if which == "each" else sorted({min(writes, 1), min(writes, 2), writes} - {0}):
        async with world_of(tmp_path, case, has_flags=False) as (world, deed):
            plant(world, package, script, nth)
            was_taken = await tried(world, deed)
            assert await state_of(world) == (after if was_taken else before), f"at write {nth} of {writes}"
            assert was_taken or script in GROWING, "only what brings new jobs may be refused"


@EACH_CASE
@pytest.mark.parametrize("has_flags", allowances())
async def test_script_at_maxmemory_does_all_or_nothing(tmp_path: Path, package: str, script: str, case: Case, has_flags: bool) -> None:
    async with world_of(tmp_path, case, has_flags=has_flags) as (world, deed):
        before = await state_of(world)
        assert await tried(world, deed)
        after = await state_of(world)
    async with world_of(tmp_path, case, has_flags=has_flags) as (world, deed):
        world.bench.server.send(b"CONFIG", b"SET", b"maxmemory", b"1mb")
        was_taken = await tried(world, deed)
        assert await state_of(world) == (after if was_taken else before)
        assert was_taken == (script not in GROWING or before == after)
