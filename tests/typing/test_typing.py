"""mypy sees what tasks take: good.py has no error, bad.py has exactly those that its comments name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.covers("main-path:9", "app:typed-submit")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def errors_of(name: str) -> set[tuple[int, str]]:
    """(line, code) of each error in the sample."""
    path = (HERE / name).relative_to(ROOT).as_posix()
    command = [sys.executable, "-m", "mypy", "--config-file", "setup.cfg", "--no-error-summary", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = re.findall(rf"^{re.escape(path)}:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    return {(int(line), code) for line, code in found}


@pytest.mark.timeout(320)
def test_right_uses_pass() -> None:
    assert errors_of("good.py") == set()


@pytest.mark.timeout(320)
def test_wrong_uses_are_refused_where_they_stand() -> None:
    lines = (HERE / "bad.py").read_text().splitlines()
    expected = {(number, line.split("# E: ")[1]) for number, line in enumerate(lines, 1) if "# E: " in line}
    found = errors_of("bad.py")
    assert len(expected) >= 12
    assert expected <= found
    assert {line for line, _ in found} == {line for line, _ in expected}
