"""Every store of records, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.records.making import OPENERS, Opener
from zjp.records.store import RecordStore


@pytest.fixture(params=sorted(OPENERS), scope="session")
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
async def store(opener: Opener, tmp_path: Path) -> AsyncIterator[RecordStore]:
    """Open and empty; nothing grows too old."""
    opened = opener(tmp_path)
    await opened.open()
    yield opened
    await opened.close()
