"""The environment that worker processes get: the node's own, without its secrets, and with zjp findable.

No setting of zjp is read here: what the workers need travels through their stdin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent.parent
_PATH = "PYTHONPATH"


def for_children(more: Mapping[str, str]) -> dict[str, str]:
    """`more`: settings for what the tasks do as clients, where the node's environment says nothing of them."""
    from ..config import (
        inherited_environment,  # here: this module is also the child's, which has no use for the settings
    )

    environment = inherited_environment()
    for name, value in more.items():
        if f"ZJP_{name}" not in environment:
            environment.setdefault(name, value)
    if not {"site-packages", "dist-packages"} & set(_PACKAGE_ROOT.parts):
        # A checkout that perhaps only this process's path knows. (An installed zjp is found anyway, and its folder must not come before
        # the standard library's.)
        environment[_PATH] = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), environment.get(_PATH, ""))))
    return environment


def tracing_variables() -> dict[str, str]:
    """Those of the OpenTelemetry SDK, in the worker process: the node hands them on and reads none of them."""
    return {name: text for name, text in os.environ.items() if name.startswith("OTEL_")}


def python_path() -> str | None:
    return os.environ.get(_PATH)


def restore_python_path(former: str | None) -> None:
    """In the worker process: programs that tasks start see what they would have seen without zjp."""
    if former is None:
        os.environ.pop(_PATH, None)
    else:
        os.environ[_PATH] = former
