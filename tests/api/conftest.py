"""One real node and one API process for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.running import RunningApi, node_and_api
from tests.system.running import RunningNode


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, RunningApi]]:
    with node_and_api(tmp_path_factory.mktemp("api")) as both:
        yield both


@pytest.fixture(scope="session")
def node(pair: tuple[RunningNode, RunningApi]) -> RunningNode:
    return pair[0]


@pytest.fixture(scope="session")
def api(pair: tuple[RunningNode, RunningApi]) -> RunningApi:
    return pair[1]


@pytest.fixture(scope="session")
def http(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client
