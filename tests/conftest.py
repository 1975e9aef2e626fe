"""What every folder of tests shares."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A shared machine may be slow; a law that holds late still holds.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A failure that needs this run's order can be repeated: `--randomly-seed=N`."""
    terminalreporter.write_line(f"random seed: {config.getoption('randomly_seed', None)}")
