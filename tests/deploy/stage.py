"""One compose file on an engine: brought up as it is shipped, looked at, asked for work through each of its doors.

What is laid over the file is written by `_overlay`: nothing on an engine with the real images; with stand-ins the address of MongoDB
without a password.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.engine import Engine, Failed, told
from tests.system.running import ROOT, first

COMPOSE = ROOT / "compose"
FIRST_PORT = 8080
SECRETS = ("JWT_SECRET", "REDIS_PASSWORD", "MONGO_PASSWORD", "GRAFANA_PASSWORD")
NOT_HERE = {"grafana"}
"""Services whose image cannot be had without a registry."""
USER, PASSWORD = "admin", "correct horse battery staple"
UP_LIMIT_S = 300
JOB = {"type": "email", "payload": {"recipient": "a@example.com", "subject": "hi"}}
HTTP_LIMIT_S = 30.0


class Stage:
    """`up` first, `down` at the end. `nodes`: their service names."""

    def __init__(self, engine: Engine, algorithm: str, folder: Path, *, has_standins: bool) -> None:
        self.engine, self.algorithm = engine, algorithm
        self.project = f"zjp-{algorithm}"
        self.file = COMPOSE / f"{algorithm}.yml"
        self.text: dict[str, Any] = yaml.safe_load(self.file.read_text())
        self.nodes = sorted(name for name in self.text["services"] if name.startswith("node-") and name != "node-extra")
        self._has_standins = has_standins
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.env_file = folder / ".env"
        self.env_file.write_text("".join(f"{name}={secrets.token_hex(32)}\n" for name in SECRETS))
        self._token = ""

    # ── compose ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def compose(self, *arguments: str) -> str:
        """Raises: Failed."""
        return told(self.engine.compose(*self._files(), *arguments), arguments)

    def config(self) -> dict[str, Any]:
        """The file as compose understands it, all services."""
        found = json.loads(
            told(
                self.engine.compose(
                    "--env-file", str(self.env_file), "-f", str(self.file), "config", "--format", "json"
                ),
                ["config"],
            )
        )
        assert isinstance(found, dict)
        return found

    def images(self) -> dict[str, str]:
        return {name: service["image"] for name, service in self.config()["services"].items()}

    def up(self, *more: str) -> None:
        """As the file's own head says it."""
        services = [] if not self._has_standins else sorted(set(self.config()["services"]) - NOT_HERE - {"node-extra"})
        self.compose("up", "-d", "--wait", "--wait-timeout", str(UP_LIMIT_S), "--no-build", *more, *services)

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "60")

    def _files(self) -> list[str]:
        overlay = self._folder / "overlay.yml"
        overlay.write_text(yaml.safe_dump(self._overlay()))
        return ["--env-file", str(self.env_file), "-f", str(self.file), "-f", str(overlay)]

    def _overlay(self) -> dict[str, Any]:
        if not self._has_standins:
            return {"services": {}}
        nodes = [*self.nodes, *(["node-extra"] if self.algorithm == "gossip" else [])]
        return {"services": {node: {"environment": {"MONGODB_URI": "mongodb://mongo:27017"}} for node in nodes}}

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def container(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def state(self, service: str) -> dict[str, Any]:
        state = self.engine.inspect(self.container(service))["State"]
        assert isinstance(state, dict)
        return state

    def health(self, service: str) -> str:
        state = self.state(service)
        return str(state["Health"]["Status"]) if state["Running"] and "Health" in state else str(state["Status"])

    def within(self, service: str, *command: str, stdin: str | None = None) -> str:
        flags = ["--interactive"] if stdin is not None else []
        return self.engine.docker("exec", *flags, self.container(service), *command, stdin=stdin)

    def zjp(self, service: str, *arguments: str) -> Any:
        """JSON that a verb of the command line says inside of a node's container."""
        return json.loads(self.within(service, "zjp", *arguments, "--json"))

    def produce(self, *arguments: str, address: str = "") -> Any:
        """By a container beside the cluster that has a producer's key."""
        given = ["-e", f"CLIENT_ADDRESS={address}"] if address else []
        return json.loads(
            self.compose("run", "--rm", "--no-deps", "-T", *given, "producer", "zjp", *arguments, "--json")
        )

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def url(self, node: str) -> str:
        return f"http://127.0.0.1:{FIRST_PORT + int(node.removeprefix('node-')) - 1}"

    def add_user(self) -> None:
        """The way that README.md tells: no user exists before."""
        self.within(
            self.nodes[0], "zjp", "users", "add", USER, "--role", "admin", "--password-file", "-", stdin=f"{PASSWORD}\n"
        )

    def log_in(self, node: str) -> None:
        self._token = self.ask(node, "/auth/login", {"username": USER, "password": PASSWORD})["token"]

    def ask(self, node: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Raises: OSError, HTTPError among them."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url(node) + path, data=data, headers={**headers, "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=HTTP_LIMIT_S) as answer:
            return json.loads(answer.read())

    def status(self, node: str, path: str) -> int:
        """0: nobody answers."""
        try:
            with urllib.request.urlopen(self.url(node) + path, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    def open(self, url: str) -> Any:
        """Another service's page. Raises: OSError."""
        return urllib.request.urlopen(url, timeout=HTTP_LIMIT_S)

    def submit_answer(self, node: str, job: dict[str, Any]) -> dict[str, Any]:
        """By the node's published address."""
        answer = self.ask(node, "/api/v1/jobs", job)
        assert isinstance(answer, dict)
        return answer

    def submit(self, node: str, job: dict[str, Any] | None = None) -> str:
        """The job's id."""
        return str(self.submit_answer(node, job or JOB)["id"])

    def job(self, node: str, job_id: str) -> dict[str, Any]:
        found = self.ask(node, f"/api/v1/jobs/{job_id}")
        assert isinstance(found, dict)
        return found

    def finishes(self, node: str, job_id: str, within_s: float = 60.0) -> dict[str, Any]:
        """Raises: Failed unless the job is completed in time."""
        job = first(lambda: self._finished(node, job_id), within_s, f"the end of {job_id}")
        if job["status"] != "completed":
            raise Failed(f"{job_id} is {job['status']}: {job['error']}")
        return job

    def _finished(self, node: str, job_id: str) -> dict[str, Any] | None:
        job = self.job(node, job_id)
        return job if job["status"] in ("completed", "failed", "cancelled") else None

    # ── the cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def leader(self, node: str) -> str:
        """Empty: nobody, as far as `node` knows."""
        return str(self.ask(node, "/api/v1/leader")["node"] or "")

    def alive(self, node: str) -> set[str]:
        """The nodes that `node` sees alive."""
        return {one["id"] for one in self.ask(node, "/api/v1/cluster")["nodes"] if one["status"] == "alive"}


def seconds_until(claim: Callable[[], bool], within_s: float, what: str) -> float:
    """How long it took. What cannot be asked meanwhile is not so yet. Raises: NotInTime."""
    begun = time.monotonic()

    def holds() -> bool | None:
        try:
            return claim() or None
        except (OSError, Failed, LookupError):
            return None

    first(holds, within_s, what)
    return time.monotonic() - begun
