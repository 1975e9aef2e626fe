"""What every folder of tests shares."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A failure that needs this run's order can be repeated: `-p randomly -p "randomly_seed=N"`."""
    terminalreporter.write_line(f"random seed: {config.getoption('randomly_seed', None)}")
