"""The door without a node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.auth.asking import Asking
from tests.api.auth.people import Clock, House, People
from zjp.api.desk import Desk
from zjp.api.open_door import OpenDoor
from zjp.client.asyncio import AsyncClient
from zjp.config import Settings


@pytest.fixture
def people() -> People:
    """Three users, one of each role, all with PASSWORD."""
    people = People()
    for name, role in (("root", "admin"), ("ann", "user"), ("wim", "worker")):
        people.add(name, role)
    return people


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(people: People, clock: Clock) -> Iterator[House]:
    house = House(people, clock)
    yield house
    house.door.hashing.close()


@pytest.fixture
def asking(house: House) -> Asking:
    return Asking(house.desk)


@pytest.fixture
def open_asking(people: People) -> Asking:
    """While auth is off."""
    desk = Desk(Settings(), AsyncClient(_door=people), OpenDoor(is_local=True), speaks_for_others=True)
    return Asking(desk, "localhost:8080")
