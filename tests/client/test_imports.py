"""What importing the library loads: applications that only submit pay for no server."""

from __future__ import annotations

import subprocess
import sys

import pytest

import zjp
from zjp.retry import RetryPolicy

pytestmark = pytest.mark.covers("main-path:9")

SERVERS = {
    "sqlite3",
    "redis",
    "pymongo",
    "starlette",
    "uvicorn",
    "uvloop",
    "click",
    "rich",
    "jwt",
    "argon2",
    "prometheus_client",
}


def loaded_by(code: str) -> set[str]:
    run = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_importing_zjp_loads_no_socket() -> None:
    assert loaded_by("import zjp") & {"zmq", "msgpack", "msgspec", "asyncio", *SERVERS} == set()


def test_every_public_name_is_loaded_on_first_use() -> None:
    assert {"RetryPolicy"} <= set(zjp.__all__)
    assert [name for name in zjp.__all__ if not hasattr(zjp, name)] == []
    assert zjp.RetryPolicy("fixed", base_s=5) == RetryPolicy("fixed", base_s=5)


def test_importing_the_clients_loads_no_server() -> None:
    loaded = loaded_by("from zjp import App, AsyncClient, Client, Job, AsyncJob; App()")
    assert "zmq" in loaded
    assert loaded & SERVERS == set()


def test_the_session_is_pure() -> None:
    assert loaded_by("import zjp.client.session") & {"zmq", "socket", "asyncio", "threading", "random"} <= {"threading"}
