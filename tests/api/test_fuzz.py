"""The short form of the fuzzing; the long one is `make api-fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.fuzz import fuzz
from tests.api.running import RunningApi

pytestmark = [pytest.mark.system, pytest.mark.covers("http:fuzz")]

ONLY = ("--include-tag", "Jobs", "--include-tag", "Schedules")
"""The rows with the richest bodies and queries."""


@pytest.mark.timeout(300)
def test_no_request_that_the_document_allows_or_forbids_surprises_the_api(api: RunningApi, tmp_path: Path) -> None:
    found = fuzz(api.url, tmp_path, per_route=2, seed=1, phases="fuzzing", more=ONLY)
    assert found.code == 0, found.text
    assert found.cases >= 20, found.text
