"""The command line in this process, for everything that needs no node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zjp.cli import cli

Run = Callable[..., Result]


@pytest.fixture
def zjp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`zjp("jobs", "list")` in an empty folder, with an address at which nobody listens."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, env: dict[str, str] | None = None, stdin: str = "", color: bool = False) -> Result:
        nobody = {"ZJP_CLIENT_ADDRESS": f"ipc://{tmp_path}/nobody", "NO_COLOR": "", **(env or {})}
        return CliRunner(env=nobody).invoke(cli, arguments, input=stdin, prog_name="zjp", color=color)

    return run
