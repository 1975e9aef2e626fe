"""Connections as the system sees them: which are ended when keys are gone, and which are nobody's business."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.loopback import needs_ipv6
from zjp.transport.sessions import OPEN_FILES, Sessions

pytestmark = pytest.mark.covers("cluster:curve")


class Port:
    """Listens. `connect` gives both ends of a connection: the one here, as the door has it, and the other."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listening = socket.create_server((host, 0), family=family)
        self._open = [self._listening]
        self.number: int = self._listening.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        there = socket.create_connection(self._listening.getsockname()[:2], timeout=10)
        here, _ = self._listening.accept()
        self._open += [here, there]
        return here, there

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def is_cut(there: socket.socket) -> bool:
    there.settimeout(10)
    return there.recv(1) == b""


def stands(here: socket.socket, there: socket.socket) -> bool:
    """What is said at one end arrives at the other."""
    here.sendall(b"x")
    there.settimeout(10)
    return there.recv(1) == b"x"


def test_only_those_of_a_welcome_key_are_kept(port: Port) -> None:
    sessions = Sessions(port.number)
    ends = {name: port.connect() for name in ("welcome", "revoked", "silent")}
    for name in ("welcome", "revoked"):
        sessions.spoke(ends[name][0].fileno(), name.encode(), name)
    assert sessions.keep(lambda user_id: user_id == "welcome") == 2
    assert stands(*ends["welcome"])
    assert is_cut(ends["revoked"][1])
    assert is_cut(ends["silent"][1])


def test_whose_key_was_seen_to_go_is_not_looked_for_by_a_number_again(port: Port) -> None:
    """What it said before may be read after its descriptor went to another one."""
    sessions = Sessions(port.number)
    said, _ = port.connect()
    sessions.spoke(said.fileno(), b"revoked", "revoked")
    sessions.keep(lambda user_id: False)
    here, there = port.connect()
    sessions.cut(here.fileno())  # as if that number had been the other one's
    assert stands(here, there)


def test_a_connection_of_another_port_is_left_alone(port: Port) -> None:
    other = Port()
    try:
        sessions = Sessions(port.number)
        ends = other.connect()
        assert sessions.keep(lambda user_id: False) == 0
        assert stands(*ends)
    finally:
        other.close()


def test_a_descriptor_that_is_used_again_says_nothing_of_its_new_connection(port: Port) -> None:
    sessions = Sessions(port.number)
    gone, _ = port.connect()
    number = gone.fileno()
    sessions.spoke(number, b"1", "welcome")
    here, there = port.connect()
    os.dup2(here.fileno(), number)  # as if the system had given the next connection that number
    here.close()
    assert sessions.keep(lambda user_id: True) == 1
    assert is_cut(there)
    assert sessions._spoken == {}


def test_the_next_to_speak_by_a_descriptor_is_who_counts(port: Port) -> None:
    sessions = Sessions(port.number)
    here, there = port.connect()
    sessions.spoke(here.fileno(), b"1", "revoked")
    sessions.spoke(here.fileno(), b"2", "welcome")
    assert sessions.keep(lambda user_id: user_id == "welcome") == 0
    assert stands(here, there)


def test_one_that_had_ended_when_its_message_was_read_is_not_looked_up_at_each_further_one(port: Port) -> None:
    sessions = Sessions(port.number)
    here, _ = port.connect()
    number = here.fileno()
    here.close()
    sessions.spoke(number, b"1", "welcome")
    noted = sessions._spoken[number]
    sessions.spoke(number, b"1", "welcome")
    assert sessions._spoken[number] is noted
    assert noted.peer is None


@needs_ipv6
def test_connections_over_ipv6_are_cut_too() -> None:
    port = Port(socket.AF_INET6)
    try:
        _, there = port.connect()
        assert Sessions(port.number).keep(lambda user_id: False) == 1
        assert is_cut(there)
    finally:
        port.close()


def test_looking_leaves_no_descriptor_open(port: Port) -> None:
    sessions = Sessions(port.number)
    here, _ = port.connect()
    before = len(os.listdir(OPEN_FILES))
    sessions.spoke(here.fileno(), b"1", "welcome")
    sessions.keep(lambda user_id: True)
    sessions.keep(lambda user_id: False)
    sessions.cut(here.fileno())
    assert len(os.listdir(OPEN_FILES)) == before
