"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.peer import MemoryNode, Peer
from zjp import Client


@pytest.fixture
def node() -> MemoryNode:
    """What the peer knows of jobs."""
    return MemoryNode()


@pytest.fixture
def peer(node: MemoryNode) -> Iterator[Peer]:
    with Peer(node) as peer:
        yield peer


@pytest.fixture
def client(peer: Peer) -> Iterator[Client]:
    with Client(peer.address, cluster="zjp") as client:
        yield client
