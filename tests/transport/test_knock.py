"""Whether somebody listens at an address, as a node asks before it takes the place of a former life."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from zjp.transport.knock import listens

pytestmark = pytest.mark.covers("redis:node-id")

PATIENT_S = 20.0


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_who_listens_is_found_by_number_and_by_name(port: int) -> None:
    assert await listens(f"tcp://127.0.0.1:{port}", limit_s=PATIENT_S)
    assert await listens(f"tcp://node-1:{port}", limit_s=PATIENT_S, look_up=lambda name, port: "127.0.0.1")


async def test_port_that_was_given_up_is_refused_at_once(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        free = gone.getsockname()[1]
    assert not await listens(f"tcp://127.0.0.1:{free}", limit_s=PATIENT_S)


async def test_name_server_that_says_nothing_costs_the_limit_and_no_more(port: int) -> None:
    answer = threading.Event()

    def look_up(name: str, port: int) -> str:
        answer.wait(PATIENT_S)
        raise OSError(-2, "Name or service not known")

    try:
        assert not await listens(f"tcp://node-1:{port}", limit_s=0.01, look_up=look_up)
    finally:
        answer.set()


@pytest.mark.parametrize(
    "address",
    [
        "", "ipc:///run/zjp.sock", "inproc://zjp", "tcp://127.0.0.1:*", "tcp://*:{}", "tcp://0.0.0.0:{}", "tcp://[::]:{}", "tcp://node..x:{}",
        "tcp://:{}", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:99999999999999999999", "tcp://127.0.0.1:\u0663",
    ],
)  # fmt: skip
async def test_where_nobody_can_tell_nobody_is_taken_to_listen(address: str, port: int) -> None:
    assert not await listens(address.format(port), limit_s=PATIENT_S)
