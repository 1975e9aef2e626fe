"""The compose files as text: what the schema says, and compose itself where it is there; that they say what the contract promises.

That they run is seen by `python -m tests.deploy.containers` (docs/reports/containers.md).
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from tests.deploy.stage import COMPOSE, SECRETS
from tests.system.running import ROOT
from zjp.config import TABLE
from zjp.units import parse_duration_s

COUNTS = {"bully": 2, "raft": 3, "gossip": 3}
OLDER = {"bully": ("10s", "30s"), "raft": ("5s", "2s"), "gossip": ("15s", "1s")}
"""ELECTION_TIMEOUT and ELECTION_INTERVAL of the older system."""
ALGORITHMS = [
    pytest.param("bully", marks=pytest.mark.covers("deployments:bully")),
    pytest.param("raft", marks=pytest.mark.covers("deployments:raft")),
    pytest.param("gossip", marks=pytest.mark.covers("deployments:gossip")),
]
FILES = [*COUNTS, "services"]


@functools.cache
def compose_command() -> tuple[str, ...] | None:
    """compose v2: as docker's plugin, or the program that COMPOSE names."""
    if os.environ.get("COMPOSE"):
        return (os.environ["COMPOSE"],)
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return ("docker", "compose")
    return None


@functools.cache
def read(name: str) -> dict[str, Any]:
    """To be looked at, not changed."""
    found = yaml.safe_load((COMPOSE / f"{name}.yml").read_text())
    assert isinstance(found, dict)
    return found


def service(name: str, which: str) -> dict[str, Any]:
    """With what it takes over from services.yml."""
    own = dict(read(name)["services"][which])
    base = read("services")["services"][own.pop("extends")["service"]]
    merged = {**base, **own}
    merged["environment"] = {**base.get("environment", {}), **own.get("environment", {})}
    merged["volumes"] = [*base.get("volumes", []), *own.get("volumes", [])]
    return merged


def nodes(name: str) -> list[str]:
    return sorted(one for one in read(name)["services"] if re.fullmatch(r"node-\d", one))


@pytest.mark.covers("deployments:bully", "deployments:raft", "deployments:gossip")
def test_schema_accepts_every_file() -> None:
    """In one go: the schema is large."""
    paths = [str(COMPOSE / f"{name}.yml") for name in FILES]
    done = CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.compose-spec", *paths])
    assert done.exit_code == 0, done.output


def test_schema_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((COMPOSE / "services.yml").read_text().replace("cap_drop", "cap_dropp"))
    assert CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.compose-spec", str(wrong)]).exit_code != 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_services_and_published_ports_are_those_of_the_contract(name: str) -> None:
    services = set(read(name)["services"])
    wanted = {f"node-{number}" for number in range(1, COUNTS[name] + 1)} | {
        "redis",
        "mongo",
        "prometheus",
        "grafana",
        "keys",
    }
    assert services - wanted == {"producer", *(["node-extra"] if name == "gossip" else [])}
    assert wanted <= services
    ports = {one: service(name, one).get("ports", []) for one in services}
    published = {one: found for one, found in ports.items() if found}
    assert published == {
        **{node: [f"127.0.0.1:{8080 + place}:8080"] for place, node in enumerate(nodes(name))},
        "prometheus": ["127.0.0.1:9093:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_setting_of_a_node_is_one_that_it_takes(name: str) -> None:
    for node in [*nodes(name), *(["node-extra"] if name == "gossip" else [])]:
        environment = service(name, node)["environment"]
        for setting, text in environment.items():
            if setting != "EXTRA_MAX" and "${" not in text:
                TABLE[setting].kind.parse(text)
        assert environment["ELECTION_ALGORITHM"] == name
        assert int(environment["CLUSTER_SIZE"]) == len(environment["CLUSTER_SEEDS"].split(",")) == COUNTS[name]
        assert environment["CURVE_ENABLED"] == "true"
        assert not {"ELECTION_TIMEOUT", "ELECTION_INTERVAL"} & set(environment)  # the defaults
    advertised = [service(name, node)["environment"]["ZMQ_ADVERTISE"] for node in nodes(name)]
    assert advertised == [f"tcp://{node}:5570" for node in nodes(name)]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_older_values_work_when_their_comment_signs_are_taken_away(name: str, tmp_path: Path) -> None:
    text = re.sub(r"^(\s*)# (ELECTION_)", r"\1\2", (COMPOSE / f"{name}.yml").read_text(), flags=re.MULTILINE)
    environment = yaml.safe_load(text)["x-environment"]
    assert (environment["ELECTION_TIMEOUT"], environment["ELECTION_INTERVAL"]) == OLDER[name]
    timeout, interval = (
        TABLE[f"ELECTION_{one}"].kind.parse(environment[f"ELECTION_{one}"]) for one in ("TIMEOUT", "INTERVAL")
    )
    assert (timeout, interval) == tuple(map(parse_duration_s, OLDER[name]))
    if command := compose_command():
        shutil.copytree(COMPOSE, tmp_path / "compose")
        (tmp_path / "compose" / f"{name}.yml").write_text(text)
        shown = config(command, tmp_path / "compose" / f"{name}.yml")
        assert shown["services"]["node-1"]["environment"]["ELECTION_TIMEOUT"] == OLDER[name][0]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_containers_are_locked_down_and_drain_before_they_are_killed(name: str) -> None:
    for one in read(name)["services"]:
        found = service(name, one)
        assert found["cap_drop"] == ["ALL"]
        assert found["init"] is True
        assert "no-new-privileges:true" in found["security_opt"]
        assert found["read_only"] is (one != "grafana")
    node = service(name, "node-1")
    assert parse_duration_s(node["stop_grace_period"]) > parse_duration_s(node["environment"]["SHUTDOWN_GRACE"]) + 5
    assert node["depends_on"] == {
        "keys": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_healthy"},
        "mongo": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_node_has_its_own_data_and_keys_and_every_volume_is_declared(name: str) -> None:
    used = [
        volume.split(":")[0]
        for one in read(name)["services"]
        for volume in service(name, one)["volumes"]
        if not volume.startswith(".")
    ]
    assert set(used) == set(read(name)["volumes"])
    for number, node in enumerate(nodes(name), 1):
        assert service(name, node)["volumes"] == [f"data-{number}:/data", f"keys-{number}:/keys:ro"]
        assert f"keys-{number}:/keys-of/{node}" in service(name, "keys")["volumes"]
    made = service(name, "keys")["command"]
    assert made[: 1 + COUNTS[name]] == ["zjp-keys", *nodes(name)]


@pytest.mark.covers("deployments:gossip")
def test_there_are_keys_for_as_many_extra_nodes_as_may_be() -> None:
    most = int(service("gossip", "node-extra")["environment"]["EXTRA_MAX"])
    assert service("gossip", "keys")["command"][4:] == [f"extra-{slot}" for slot in range(1, most + 1)]
    assert service("gossip", "node-extra")["scale"] == 0


@pytest.mark.covers("deployments:bully", "deployments:raft", "deployments:gossip")
def test_secrets_have_no_default_and_the_example_has_none_either() -> None:
    text = "".join((COMPOSE / f"{name}.yml").read_text() for name in FILES)
    example = dict(
        line.split("=", 1)
        for line in (COMPOSE / ".env.example").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert example == dict.fromkeys(SECRETS, "")
    for name in SECRETS:
        assert re.search(rf"\${{{name}:\?", text)
        assert not re.search(rf"\${{{name}(:?-|\+)", text)


@pytest.mark.covers("deployments:monitoring")
def test_what_prometheus_and_grafana_are_given_is_there() -> None:
    for which in ("prometheus", "grafana"):
        mounted = [volume.split(":")[0] for volume in service("raft", which)["volumes"] if volume.startswith(".")]
        assert mounted
        assert all(any((COMPOSE / folder).iterdir()) for folder in mounted)
    provider = yaml.safe_load((COMPOSE / "grafana/provisioning/dashboards/zjp.yml").read_text())["providers"][0]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in service("raft", "grafana")["volumes"]
    source = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert {path.stem for path in (COMPOSE / "grafana/dashboards").glob("*.json")} >= {
        "cluster",
        "queues",
        "workers",
        "elections",
    }


# ── compose itself ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def config(command: tuple[str, ...], path: Path, **secrets: str) -> dict[str, Any]:
    environment = {**os.environ, **dict.fromkeys(SECRETS, "x" * 32), **secrets}
    arguments = ["--env-file", "/dev/null", "-f", str(path), "config", "--format", "json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ValueError(done.stderr)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


NEEDS_COMPOSE = pytest.mark.skipif(
    compose_command() is None, reason="docker compose v2 is not here (or name it: COMPOSE=/path/to/docker-compose)"
)


@NEEDS_COMPOSE
@pytest.mark.parametrize("name", ALGORITHMS)
def test_compose_reads_the_file_and_says_what_is_missing(name: str) -> None:
    command = compose_command()
    assert command is not None
    shown = config(command, COMPOSE / f"{name}.yml")
    assert shown["name"] == f"zjp-{name}"
    assert shown["services"]["node-1"]["environment"]["REDIS_PASSWORD"] == "x" * 32
    with pytest.raises(ValueError, match=r"MONGO_PASSWORD is missing a value: is not set; copy compose/\.env\.example"):
        config(command, COMPOSE / f"{name}.yml", MONGO_PASSWORD="")


# ── the image ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def entry(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.environ["PATH"]
    program = ["sh", str(COMPOSE / "image" / "zjp-entry"), *command]
    return subprocess.run(program, capture_output=True, text=True, check=False, env={"PATH": path, **environment})


@pytest.mark.covers("deployments:image")
def test_node_without_a_secret_ends_with_78_and_the_command_that_works() -> None:
    done = entry("zjp", "node")
    assert done.returncode == 78
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("docker run "))
    assert '-e JWT_SECRET="$(openssl rand -hex 32)"' in line
    assert line.endswith(" zjp")


@pytest.mark.covers("deployments:image")
@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (["zjp", "keys"], {}),
        (["sh", "-c", "zjp node"], {}),
        (["zjp", "node"], {"JWT_SECRET_FILE": "/run/secrets/jwt"}),
        (["zjp", "node"], {"AUTH_ENABLED": "false"}),
        (["zjp", "node", "--jwt-secret=x"], {}),
    ],
)
def test_other_commands_and_nodes_with_a_secret_are_run(
    command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "zjp"
    program.write_text('#!/bin/sh\necho "ran $* on ${SERVER_HOST-loopback}"\n')
    program.chmod(0o755)
    done = entry(*command, **environment, PATH=f"{tmp_path}:{os.environ['PATH']}")
    where = "0.0.0.0" if command[:2] == ["zjp", "node"] else "loopback"
    assert (done.returncode, done.stdout.split()[0], done.stdout.split()[-1]) == (0, "ran", where), done.stderr


@pytest.mark.covers("deployments:image")
def test_program_with_a_key_is_told_the_nodes_keys(tmp_path: Path) -> None:
    (tmp_path / "server.pub").write_text("aa,bb\n")
    done = entry("sh", "-c", 'echo "$CLIENT_SERVER_KEY"', CLIENT_KEY_FILE=f"{tmp_path}/producer.key")
    assert done.stdout == "aa,bb\n"


@pytest.mark.covers("deployments:image")
def test_dockerfile_has_a_plain_user_a_health_check_labels_and_no_curl() -> None:
    text = (COMPOSE / "Dockerfile").read_text()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"  # nothing by accident
    uid = int(re.search(r"--uid (\d+)", text)[1])  # type: ignore[index]
    assert 0 < uid < 1000
    last = text.split("\nFROM ")[-1]
    for wanted in ("USER zjp", "HEALTHCHECK ", "STOPSIGNAL SIGTERM", "org.opencontainers.image.licenses", "ENTRYPOINT"):
        assert wanted in last
    assert "curl" not in text
    assert "tzdata" in text


@pytest.mark.covers("deployments:image")
@pytest.mark.parametrize("name", ["zjp-entry", "zjp-keys", "zjp-extra"])
def test_shell_of_the_image_is_shell(name: str) -> None:
    path = COMPOSE / "image" / name
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    assert os.access(path, os.X_OK)
