"""Prometheus and its tool as they are installed. Without them a test is skipped at home, and fails in CI."""

from __future__ import annotations

import os
import shutil

import pytest


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
