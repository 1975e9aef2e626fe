"""The long form, where an engine is: `pytest -m slow tests/deploy/test_containers.py`; and that its report was kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy import containers
from tests.deploy.engine import is_present, what_own_lacks
from tests.deploy.report import markdown
from tests.deploy.steps import Step
from tests.system.running import ROOT

pytestmark = pytest.mark.covers("deployments:containers")

REPORT = ROOT / "docs" / "reports" / "containers.md"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_compose_files_hold_on_a_real_engine(tmp_path: Path) -> None:
    if not is_present() and (lacks := what_own_lacks()):
        pytest.skip(f"no container engine answers, and none can be started: {lacks}")
    assert containers.main(["--algorithm", "raft"]) == 0


def test_report_tells_a_step_that_did_not_hold() -> None:
    seen = {"image": [Step("starts", True, "in 2 s", 2.0)], "raft": [Step("up", False, "Failed: a | b\nc", 1.0)]}
    text = markdown("python -m tests.deploy.containers", {"Commit": "abc"}, seen, has_standins=True)
    assert "**Not good**: 1 of 2 steps." in text
    assert "| up | **no** | 1.0 | Failed: a \\| b c |" in text
    assert "Not run" in text


@pytest.mark.covers("deployments:readme")
def test_report_of_the_long_form_is_kept_and_says_what_was_not_run() -> None:
    text = REPORT.read_text()
    assert text.count("\n## ") == 4  # the image and three files
    assert re.search(r"^\*\*(Good|Not good)\*\*: \d+ of \d+ steps\.$", text, re.MULTILINE)
    assert ("| **no** |" in text) == ("**Not good**" in text)
    assert "Grafana" in text
    readme = (ROOT / "compose" / "README.md").read_text()
    for word in ("## Scale", "## Roll", "## Back up", "## Run a producer", "## When a node is lost"):
        assert word in readme
