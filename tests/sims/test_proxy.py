"""The fault proxy: each verb against a real echo server over real sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sims.proxy import FaultProxy, obey

ROOT = Path(__file__).parents[2]
SOON_S = 10.0


class Echo:
    """Sends back what it gets; keeps what it got. `ended`: how its connections ended, `fin` or `reset`."""

    def __init__(self) -> None:
        self.got = b""
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.arrivals: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1 << 16):
                self.got += data
                self.arrivals.append(len(data))
                writer.write(data)
                await writer.drain()
            await self.ended.put("fin")
        except ConnectionError:
            await self.ended.put("reset")
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()
    for writer in echo.writers:
        writer.transport.abort()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", echo[1], seed=1) as proxy:
        yield proxy


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(proxy: FaultProxy) -> Connection:
    """A connection that is known to be through."""
    reader, writer = await asyncio.open_connection(*proxy.address)
    assert await ask((reader, writer), b"hello") == b"hello"
    return reader, writer


async def ask(connection: Connection, data: bytes) -> bytes:
    reader, writer = connection
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), SOON_S)


async def took_s(connection: Connection, data: bytes) -> float:
    started = asyncio.get_running_loop().time()
    assert await ask(connection, data) == data
    return asyncio.get_running_loop().time() - started


async def test_without_faults_all_bytes_pass_unchanged(proxy: FaultProxy) -> None:
    connection = await connect(proxy)
    data = bytes(range(256)) * 20_000
    assert await ask(connection, data) == data
    connection[1].close()


async def test_latency_holds_back_each_direction(proxy: FaultProxy) -> None:
    connection = await connect(proxy)
    proxy.up.latency_s, proxy.down.latency_s = 0.2, 0.4
    assert await took_s(connection, b"x") >= 0.6
    proxy.heal()
    assert await took_s(connection, b"x") < 0.6
    connection[1].close()


async def test_latency_does_not_add_up_over_what_is_under_way(proxy: FaultProxy) -> None:
    reader, writer = await connect(proxy)
    proxy.down.latency_s = 0.2
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        writer.write(b"x")
        await asyncio.sleep(0.01)
    await asyncio.wait_for(reader.readexactly(20), SOON_S)
    assert asyncio.get_running_loop().time() - started < 20 * 0.2
    writer.close()


async def test_jitter_keeps_the_order(proxy: FaultProxy) -> None:
    reader, writer = await connect(proxy)
    proxy.up.jitter_s = proxy.down.jitter_s = 0.02
    for number in range(100):
        writer.write(bytes([number]))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(reader.readexactly(100), SOON_S) == bytes(range(100))
    writer.close()


async def test_bandwidth_limits_the_rate(proxy: FaultProxy) -> None:
    connection = await connect(proxy)
    proxy.up.bandwidth_bytes_s = 1_000_000
    # The pause for the last chunk comes after it, so of 300 kB at most 65 kB are free.
    assert await took_s(connection, b"x" * 300_000) >= 0.2
    connection[1].close()


async def test_cut_resets_both_sides(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    reader, writer = await connect(proxy)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    assert await asyncio.wait_for(echo[0].ended.get(), SOON_S) == "reset"
    writer.close()
    again = await connect(proxy)
    again[1].close()


async def test_cut_ends_a_connection_that_is_held_back(proxy: FaultProxy) -> None:
    reader, writer = await connect(proxy)
    proxy.up.latency_s = 3600
    writer.write(b"x")
    await asyncio.sleep(0)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    async with asyncio.timeout(SOON_S):
        while proxy.connection_count:  # noqa: ASYNC110
            await asyncio.sleep(0)
    writer.close()


async def test_a_blackhole_is_silent_in_its_direction_only(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    reader, writer = await connect(proxy)
    proxy.down.is_blackhole = True
    writer.write(b"asked")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    assert echo[0].got == b"helloasked"
    proxy.up.is_blackhole = True
    writer.write(b"unheard")
    writer.write_eof()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(echo[0].ended.get(), 0.2)
    assert echo[0].got == b"helloasked"
    proxy.heal()
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    writer.close()
    (await connect(proxy))[1].close()


async def test_the_slicer_sends_small_pieces(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    connection = await connect(proxy)
    proxy.up.slice_bytes, proxy.up.slice_gap_s = 1, 0.005
    echo[0].arrivals.clear()
    assert await ask(connection, b"0123456789") == b"0123456789"
    assert len(echo[0].arrivals) > 5
    connection[1].close()


@pytest.mark.parametrize("more_bytes", [0, 1, 7, 10])
async def test_limit_data_lets_so_much_through_and_resets(
    proxy: FaultProxy, echo: tuple[Echo, int], more_bytes: int
) -> None:
    reader, writer = await connect(proxy)
    proxy.limit_data("down", more_bytes)
    writer.write(b"0123456789")
    # What was let through arrives; the reset comes after it.
    assert await asyncio.wait_for(reader.readexactly(more_bytes), SOON_S) == b"0123456789"[:more_bytes]
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    # The deed is done, its answer is lost.
    assert echo[0].got == b"hello0123456789"
    writer.close()
    (await connect(proxy))[1].close()


async def test_half_close_ends_one_direction(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    reader, writer = await connect(proxy)
    proxy.half_close("up")
    assert await asyncio.wait_for(echo[0].ended.get(), SOON_S) == "fin"
    echo[0].writers[0].write(b"still here")
    assert await asyncio.wait_for(reader.readexactly(10), SOON_S) == b"still here"
    writer.close()


async def test_a_fin_passes_and_the_other_direction_goes_on(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    reader, writer = await connect(proxy)
    writer.write_eof()
    assert await asyncio.wait_for(echo[0].ended.get(), SOON_S) == "fin"
    echo[0].writers[0].write(b"late")
    assert await asyncio.wait_for(reader.readexactly(4), SOON_S) == b"late"
    writer.close()


async def test_refuse_resets_those_to_come_and_leaves_those_that_are_up(proxy: FaultProxy) -> None:
    connection = await connect(proxy)
    proxy.is_refusing = True
    reader, writer = await asyncio.open_connection(*proxy.address)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    writer.close()
    assert await ask(connection, b"x") == b"x"
    connection[1].close()


async def test_an_upstream_that_is_down_looks_like_a_reset() -> None:
    async with FaultProxy("127.0.0.1", await _dead_port()) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), SOON_S)
        writer.close()


async def _dead_port() -> int:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    "command",
    [
        {"verb": "explode"},
        {"verb": "latency", "direction": "sideways"},
        {"verb": "latency", "slice_bytes": 1},
        {"verb": "limit_data", "more_bytes": 1},
        {},
    ],
)
async def test_an_unknown_verb_or_knob_is_refused(command: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"verb|direction|takes"):
        obey(FaultProxy("127.0.0.1", 1), command)


async def test_a_verb_sets_its_knobs_and_leaves_the_others() -> None:
    proxy = FaultProxy("127.0.0.1", 1)
    obey(proxy, {"verb": "latency", "latency_s": 0.5, "jitter_s": 0.1})
    obey(proxy, {"verb": "slicer", "direction": "up", "slice_bytes": 3})
    assert (proxy.up.latency_s, proxy.up.slice_bytes) == (0.5, 3)
    assert (proxy.down.latency_s, proxy.down.slice_bytes) == (0.5, 0)
    obey(proxy, {"verb": "latency", "direction": "down"})
    assert (proxy.up.latency_s, proxy.down.latency_s, proxy.down.jitter_s) == (0.5, 0.0, 0.0)


async def test_as_a_process_it_obeys_lines_and_ends_with_stdin(echo: tuple[Echo, int]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sims.proxy", "--upstream", f"127.0.0.1:{echo[1]}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    async def tell(command: dict[str, object]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command).encode() + b"\n")
        return (await asyncio.wait_for(process.stdout.readline(), SOON_S)).decode().strip()

    listening = (await asyncio.wait_for(process.stdout.readline(), SOON_S)).decode()
    host, _, port = listening.removeprefix("listening ").strip().rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await ask((reader, writer), b"x") == b"x"
    assert await tell({"verb": "latency", "direction": "down", "latency_s": 0.2}) == "ok"
    assert await took_s((reader, writer), b"x") >= 0.2
    assert (await tell({"verb": "explode"})).startswith("error: verb is 'explode'")
    assert await tell({"verb": "cut"}) == "ok"
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON_S)
    writer.close()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), SOON_S) == 0
