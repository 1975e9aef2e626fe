"""A container engine to run the compose files on: the one that is there, or one of our own in a network namespace of its own.

own       dockerd, started here. Its bridges, its rules and the ports it publishes stay in the namespace, so it disturbs nothing and
          needs no free ports; whoever wants to reach them runs there too (`enter`). Root, dockerd, ip and nsenter are needed.
present   whatever DOCKER_HOST or the default socket leads to, with the real images.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

NAMESPACE = "zjp-containers"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
COMMAND_LIMIT_S = 600.0
OWN_NEEDS = ("dockerd", "runc", "ip", "nsenter", "iptables", "docker", "debootstrap", "java")


class Failed(Exception):
    """A command that must not fail did; the text has what it said."""


def what_own_lacks() -> str:
    """Empty when an engine can be started here."""
    if os.geteuid() != 0:
        return "an engine of one's own needs root"
    missing = [name for name in OWN_NEEDS if shutil.which(name) is None]
    return (
        f"not installed: {', '.join(missing)} (Debian: docker.io runc debootstrap iproute2 iptables default-jre-headless)"
        if missing
        else ""
    )


def is_present() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def enter(arguments: Sequence[str]) -> int:
    """The same program, inside of a fresh namespace; its exit code."""
    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    # nsenter, not `ip netns exec`: that one hides the cgroups, which dockerd needs.
    within = ["nsenter", f"--net=/run/netns/{NAMESPACE}"]
    try:
        subprocess.run([*within, "ip", "link", "set", "lo", "up"], check=True)
        return subprocess.run([*within, sys.executable, *arguments], check=False).returncode
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False)


class Engine:
    """`with Engine(folder, is_own=...)`: docker commands to it. Own: run inside of the namespace."""

    def __init__(self, folder: Path, *, is_own: bool, compose: str | None) -> None:
        self._folder, self._is_own = folder, is_own
        self._daemon: subprocess.Popen[bytes] | None = None
        self._compose = [compose] if compose else ["docker", "compose"]
        self._environment = dict(os.environ)
        if is_own:
            self._environment |= {
                "DOCKER_HOST": f"unix://{folder}/docker.sock",
                "DOCKER_BUILDKIT": "0",
                "DOCKER_CONFIG": str(folder),
            }

    def __enter__(self) -> Engine:
        if self._is_own:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()

    def _start(self) -> None:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/docker.pid",
            "--host", self._environment["DOCKER_HOST"], "--storage-driver", "overlay2", "--default-ulimit", "nofile=20000:20000",
        ]  # fmt: skip
        with (folder / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_LIMIT_S
        while self._docker("version").returncode:
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise Failed(f"dockerd did not start; see {folder}/dockerd.log")

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def docker(self, *arguments: str, stdin: str | None = None) -> str:
        """What it says on stdout. Raises: Failed."""
        return told(self._docker(*arguments, stdin=stdin), arguments)

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Of a docker command that may fail."""
        return self._docker(*arguments)

    def compose(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run([*self._compose, *arguments], {**self._environment, **(environment or {})})

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.docker("inspect", container))
        assert isinstance(found, dict)
        return found

    def inspect_image(self, name: str) -> dict[str, Any]:
        (found,) = json.loads(self.docker("image", "inspect", name))
        assert isinstance(found, dict)
        return found

    def has_image(self, name: str) -> bool:
        return self._docker("image", "inspect", name).returncode == 0

    def version(self) -> str:
        return self.docker("version", "--format", "{{.Server.Version}}").strip()

    def compose_version(self) -> str:
        return self.compose("version", "--short").stdout.strip()

    def _docker(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return run(["docker", *arguments], self._environment, stdin)


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT_S, env=environment, **given
    )  # type: ignore[call-overload,no-any-return]


def told(done: subprocess.CompletedProcess[str], arguments: Sequence[str]) -> str:
    if done.returncode:
        raise Failed(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout
