"""The manifests: each is accepted by Kubernetes' own schemas, strictly, and they say what a node needs. No cluster runs here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.system.running import ROOT, clean_environment
from zjp.config import TABLE
from zjp.transport.curve import KeyRole, read_authorized, read_pair

pytestmark = pytest.mark.covers("deployments:kubernetes")

MANIFESTS = ROOT / "deploy" / "kubernetes"
FOREIGN = {"Kustomization", "ScaledObject"}
"""Kinds that Kubernetes itself does not have, so its schemas neither."""
KUBERNETES = "1.37"


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def of_files() -> list[tuple[str, dict[str, Any]]]:
    paths = sorted(MANIFESTS.rglob("*.yaml"))
    return [(path.name, document) for path in paths for document in documents(path.read_text())]


def one(kind: str) -> dict[str, Any]:
    (found,) = (document for _, document in of_files() if document["kind"] == kind)
    return found


def pods() -> list[dict[str, Any]]:
    return [one(kind)["spec"]["template"]["spec"] for kind in ("StatefulSet", "Deployment")]


@pytest.mark.parametrize(
    ("name", "document"), of_files(), ids=lambda value: value if isinstance(value, str) else value["kind"]
)
def test_schema_accepts_the_manifest(name: str, document: dict[str, Any]) -> None:
    if document["kind"] not in FOREIGN:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert document["apiVersion"]


def test_schema_refuses_a_misspelt_manifest() -> None:
    wrong = one("StatefulSet")
    wrong["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here, so kustomize renders nothing")
@pytest.mark.parametrize("folder", ["base", "overlays/keda"])
def test_kustomize_renders_what_the_schema_accepts(folder: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(MANIFESTS / folder)], capture_output=True, text=True, check=True)
    rendered = documents(done.stdout)
    for document in rendered:
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "zjp"
    kinds = {document["kind"] for document in rendered}
    assert kinds >= {"StatefulSet", "Service", "PodDisruptionBudget", "ConfigMap"}
    (budget,) = (document for document in rendered if document["kind"] == "PodDisruptionBudget")
    (nodes,) = (document for document in rendered if document["kind"] == "StatefulSet")
    assert budget["spec"]["selector"] == nodes["spec"]["selector"] != {"matchLabels": {}}


def test_settings_are_names_that_a_node_knows_and_values_that_it_takes() -> None:
    data = one("ConfigMap")["data"]
    for name, text in data.items():
        TABLE[name.removeprefix("ZJP_")].kind.parse(text)
    seeds = data["ZJP_CLUSTER_SEEDS"].split(",")
    nodes = one("StatefulSet")
    assert len(seeds) == int(data["ZJP_CLUSTER_SIZE"]) == nodes["spec"]["replicas"]
    assert seeds[0] == f"tcp://{nodes['metadata']['name']}-0.{nodes['spec']['serviceName']}:5570"
    secrets = one("Secret")["stringData"]
    assert all(TABLE[name.removeprefix("ZJP_")].secret for name in secrets)
    assert not any(secrets.values())  # an example has no secret that somebody could keep


@pytest.mark.parametrize("pod", pods(), ids=["voters", "workers"])
def test_pods_are_locked_down_probed_and_given_time_to_drain(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] < 1000
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert (
        container["livenessProbe"]["httpGet"]
        == container["startupProbe"]["httpGet"]
        == {"path": "/healthz", "port": "http"}
    )
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert {"name": "http", "containerPort": int(TABLE["SERVER_PORT"].default_text)} in container["ports"]
    assert pod["terminationGracePeriodSeconds"] > 30 + 5
    assert not pod["enableServiceLinks"]


def test_workers_are_scaled_by_what_waits_and_voters_are_not() -> None:
    scaled = one("ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == one("Deployment")["metadata"]["name"]
    (trigger,) = scaled["triggers"]
    assert "queue_depth_gauge" in trigger["metadata"]["query"]
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert int(trigger["metadata"]["threshold"]) > int(trigger["metadata"]["activationThreshold"]) >= 0


def test_every_file_is_part_of_a_kustomization_or_an_example() -> None:
    for folder in (MANIFESTS / "base", MANIFESTS / "overlays" / "keda"):
        listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
        assert there == {Path(name).name for name in listed if not name.startswith("..")}


@pytest.mark.system
def test_keys_made_as_the_example_says_are_those_that_a_pod_puts_in_place(tmp_path: Path) -> None:
    recipe = [
        line[4:]
        for line in (MANIFESTS / "base" / "secret.example.yaml").read_text().splitlines()
        if line.startswith("#   ")
    ]
    made = "\n".join(line for line in recipe if not line.startswith("kubectl")).replace("zjp-0 zjp-1 zjp-2", "zjp-0")
    program = tmp_path / "zjp"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m zjp "$@"\n')
    program.chmod(0o755)
    environment = clean_environment({"PATH": f"{tmp_path}:{os.environ['PATH']}", "NODE_ID": "zjp-0"})
    subprocess.run(["sh", "-euc", made], cwd=tmp_path, env=environment, check=True, capture_output=True)

    # What `kubectl create secret --from-file` would take: the files of two folders, under their names.
    (tmp_path / "secret").mkdir()
    for path in (
        path for folder in ("keys", "keys/authorized") for path in (tmp_path / folder).iterdir() if path.is_file()
    ):
        shutil.copy(path, tmp_path / "secret")
    (init,) = one("StatefulSet")["spec"]["template"]["spec"]["initContainers"]
    script = init["args"][0].replace("/secret", f"{tmp_path}/secret").replace("/keys", f"{tmp_path}/pod")
    (tmp_path / "pod").mkdir()
    subprocess.run(["sh", "-euc", script.replace(f"{tmp_path}{tmp_path}", str(tmp_path))], env=environment, check=True)

    pair = read_pair(tmp_path / "pod" / "node.key")
    assert pair.name == "zjp-0"
    (holder,) = read_authorized(tmp_path / "pod" / "authorized").values()
    assert (holder.name, holder.role, holder.public) == ("zjp-0", KeyRole.NODE, pair.public)
