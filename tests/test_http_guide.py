"""docs/http.md and examples/http_client.py do what they show, against a real node with its API and auth on; and
docs/troubleshooting.md names what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import RunningNode, clean_environment, first
from tests.test_docs import ROOT, blocks, run_python
from zjp.cli import VERBS
from zjp.config import TABLE
from zjp.metrics import TABLE as METRICS

pytestmark = [pytest.mark.system, pytest.mark.covers("client:http")]

SHOWN = "http://localhost:8080"
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningNode(
        tmp_path_factory.mktemp("node"), app="examples.tasks:app", worker_count=2, worker_processes=1, api_enabled=True, server_port=0,
        metrics_enabled=False, auth_enabled=True, auth_dev_users=True, jwt_secret="f3Qz8-kP1wLr7XcV0bNm5tYh2sJd9aGe4uRo6iTp",
    ) as node:  # fmt: skip
        listening = first(lambda: node.events("api.listening") or None, LIMIT_S, "api.listening")[-1]
        yield f"http://localhost:{listening['port']}"


def test_shell_of_the_guide_does_what_it_shows(url: str, tmp_path: Path) -> None:
    """All blocks in one shell, as a reader pastes them."""
    script = "\n".join(blocks("docs/http.md", "bash")).replace(SHOWN, url)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first_id, second_id = re.findall(r"[12] ([0-9a-f-]{36})$", done.stdout, re.MULTILINE)
    assert first_id == second_id
    assert '"result":5' in done.stdout
    assert "event: stats" in done.stdout
    assert "422 invalid" in done.stdout


def test_python_of_the_guide_does_what_it_shows(url: str, tmp_path: Path) -> None:
    shown = blocks("docs/http.md", "python")
    assert len(shown) == 2
    for block in shown:
        run_python(tmp_path, "", block.replace(SHOWN, url))


def test_client_with_the_standard_library_logs_in_submits_waits_and_lists(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.http_client", url, "user", "user123"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
        check=False, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "would send 'hi' to a@example.com" in done.stdout
    assert "of type email, the newest is" in done.stdout
    assert "refused   413 too-large" in done.stdout


def test_client_with_the_standard_library_imports_nothing_else() -> None:
    tree = ast.parse((ROOT / "examples" / "http_client.py").read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names


def test_troubleshooting_names_only_what_is_there() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "zjp").rglob("*.py"))
    assert set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", text)) <= set(TABLE)
    assert set(re.findall(r"`(zjp_[a-z_]+)`", text)) <= set(METRICS)
    events = set(re.findall(r"log's `([a-z]+\.[a-z_]+)`", text))
    assert events
    assert [event for event in events if f'"{event}"' not in source] == []
    verbs = set(re.findall(r"`zjp ([a-z]+)", text))
    assert verbs <= set(VERBS)
