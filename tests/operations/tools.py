"""Prometheus and its tool as they are installed. Without them a test is skipped at home, and fails in CI."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

NAMES_BLAMED = {"worker_active_gauge", "queue_depth_gauge"}
"""By promtool, for their ends. They are promised by these names, and users have them in their dashboards."""


def names_blamed(metrics: bytes) -> set[str]:
    """Metrics in which promtool finds a fault."""
    done = subprocess.run([promtool(), "check", "metrics"], input=metrics, capture_output=True, timeout=30, check=False)
    return {line.split()[0] for line in (done.stdout + done.stderr).decode().splitlines()}


def promtool() -> str:
    return _installed("promtool")


def prometheus() -> str:
    return _installed("prometheus")


def _installed(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        reason = f"no {name} is installed (Debian: apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
