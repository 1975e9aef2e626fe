"""One real node with jobs of every kind, one API before it, and a browser for each module (Playwright leaves its loop to no other test)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from tests.api.running import RunningApi, node_and_api
from tests.browser.browsing import Visitor, chromium, chromium_path
from tests.browser.jobs import fill
from tests.cluster.netns import steady_addresses
from tests.system.running import RunningNode

APP = "tests.browser.tasks:app"


@pytest.fixture(autouse=True)
def addresses() -> Iterator[None]:
    """Of the machine: networks that other tests make come and go between these."""
    with steady_addresses():
        yield


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, RunningApi]]:
    chromium_path()
    with node_and_api(tmp_path_factory.mktemp("browser"), APP) as both:
        with both[1].client() as http:
            fill(http)
        yield both


@pytest.fixture(scope="session")
def node(pair: tuple[RunningNode, RunningApi]) -> RunningNode:
    return pair[0]


@pytest.fixture(scope="session")
def api(pair: tuple[RunningNode, RunningApi]) -> RunningApi:
    return pair[1]


@pytest.fixture
def http(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client


@pytest.fixture(scope="module")
def browser(api: RunningApi) -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def visitor(browser: Browser, api: RunningApi) -> Iterator[Visitor]:
    """Whatever a test does, its page has no fault of its own."""
    with Visitor(browser, api.url) as one:
        yield one
        assert one.faults == []
