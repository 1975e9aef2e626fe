"""The Grafana dashboards as they are committed. Grafana itself does not run here: its JSON is made by Grafana's own library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.grafana_dashboards import FOLDER, texts
from zjp.metrics import TABLE, MetricKind

pytestmark = pytest.mark.covers("metrics:dashboards")

PROVISIONING = FOLDER.parent / "provisioning"
FUNCTIONS = {"sum", "max", "min", "count", "rate", "increase", "histogram_quantile", "vector", "by", "or"}
OF_PROMETHEUS = {"up", "ALERTS"}
TARGET_LABELS = {"job", "instance", "le", "alertstate", "alertname"}


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, board in boards().items():
        for panel in board["panels"]:
            yield f"{name}: {panel['title']}", panel


def series_names() -> set[str]:
    names = set(OF_PROMETHEUS)
    for row in TABLE.values():
        ends = ("_bucket", "_sum", "_count") if row.kind is MetricKind.HISTOGRAM else ("",)
        names |= {row.name + end for end in ends}
    return names


def test_dashboards_are_as_they_are_generated() -> None:
    written = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert written == texts(), "run python -m scripts.grafana_dashboards to write compose/grafana/dashboards again"
    assert set(boards()) == {"cluster", "queues", "workers", "elections"}


def test_queries_name_only_metrics_and_labels_that_exist() -> None:
    labels = TARGET_LABELS | {label for row in TABLE.values() for label in row.labels}
    for where, panel in panels():
        for target in panel["targets"]:
            bare = re.sub(r'"[^"]*"', "", target["expr"])
            named = set(re.findall(r"\{([^}]*)\}", bare)) | set(re.findall(r"by \(([^)]*)\)", bare))
            assert {label for text in named for label in re.findall(r"\w+", text)} <= labels, where
            words = set(re.findall(r"[a-zA-Z_]\w+", re.sub(r"\{[^}]*\}|by \([^)]*\)|\[[^]]*\]", "", bare)))
            assert words - FUNCTIONS <= series_names(), where


def test_legends_name_labels_that_their_queries_keep() -> None:
    for where, panel in panels():
        for target in panel["targets"]:
            kept = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"])) or "instance worker"
            for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
                assert label in kept, where


def test_every_panel_has_a_title_that_is_its_own_a_text_and_a_unit() -> None:
    for name, board in boards().items():
        titles = [panel["title"] for panel in board["panels"]]
        assert len(titles) == len(set(titles)), name
    for where, panel in panels():
        assert panel["description"].endswith("."), where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        assert panel["targets"], where
        assert panel["options"], where


def test_panels_lie_beside_one_another_within_the_width() -> None:
    for name, board in boards().items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, f"{name}: {panel['title']}"
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_provisioning_names_the_data_source_and_the_folder() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "zjp.yml").read_text())["providers"]
    assert provider["type"] == "file"
    for board in boards().values():
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        assert variables["datasource"]["query"] == source["type"]
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in board["panels"])


def test_provisioned_files_are_yaml_that_grafana_versions_1() -> None:
    for path in sorted(Path(PROVISIONING).rglob("*.yml")):
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1
