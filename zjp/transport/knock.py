"""Whether somebody listens at an address: a plain TCP connection that is closed again at once. Nothing is said on it.

It tells a node that lives from one that died a moment ago, where the system of that machine still answers for it. No answer proves
nothing, so whoever asks goes on as if it had not asked.
"""

from __future__ import annotations

import asyncio

from .names import FAULTS, Finding, LookUp, first_address, name_in

KNOCK_S = 0.5
EVERYWHERE = ("*", "0.0.0.0", "::")
"""No place that could be dialled."""


async def listens(address: str, *, limit_s: float = KNOCK_S, look_up: LookUp = first_address) -> bool:
    """False: refused, no answer in time, an unknown name, or an address that is not one host's TCP port. Raises nothing."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or not port.isdecimal() or host.strip("[]") in EVERYWHERE:
        return False
    try:
        async with asyncio.timeout(limit_s):
            named = name_in(address)
            number = host.strip("[]") if named is None else await _number(*named, look_up)
            _, writer = await asyncio.open_connection(number, int(port))
    except FAULTS:
        return False
    writer.close()
    return True


async def _number(name: str, port: int, look_up: LookUp) -> str:
    """Raises: OSError."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    finding = Finding(name, port, answer.set_result, lambda why: answer.set_exception(OSError(why)), look_up)
    try:
        return await answer
    finally:
        finding.give_up()
