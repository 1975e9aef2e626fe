"""A node for the time of a `with` block: what each example starts so that it needs one command.

A real deployment has no such thing: the node is a service (`python -m zjp.node --app ...`), and programs find it by
CLIENT_ADDRESS. Here the node's address is a socket file in a temporary folder, so that no port has to be free.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zjp import Client
from zjp.errors import ZjpError

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0


@contextmanager
def local_node(app: str, **settings: str) -> Iterator[Client]:
    """A client of a fresh node that serves `app` ("module:app"). `settings` as the node's flags: worker_processes="2".

    CLIENT_ADDRESS points to the node meanwhile, so that `task.submit(...)` finds it, here and inside of tasks.
    """
    with tempfile.TemporaryDirectory(prefix="zjp-", ignore_cleanup_errors=True) as folder:
        address = f"ipc://{folder}/node"
        outer, os.environ["CLIENT_ADDRESS"] = os.environ.get("CLIENT_ADDRESS"), address
        log = Path(folder, "node.log")
        process = _start(log, {"app": app, "zmq_bind": address, "data_dir": f"{folder}/data", "api_enabled": "false", **settings})
        try:
            with Client(address) as client:
                _wait_until_up(client, process, log)
                yield client
        except BaseException:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()  # drains: running jobs may finish
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if outer is None:
                del os.environ["CLIENT_ADDRESS"]
            else:
                os.environ["CLIENT_ADDRESS"] = outer


def _start(log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    with log.open("wb") as output:
        return subprocess.Popen([sys.executable, "-m", "zjp.node", *flags], stdout=output, stderr=output)


def _wait_until_up(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not log.with_name("node").exists():  # the socket file: there once the node takes requests
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the node did not start; its log is above")
        time.sleep(0.01)
    try:
        client.ping()
    except ZjpError as fault:
        raise RuntimeError(f"the node does not answer: {fault}") from fault
