"""The alert rules: each fires when it should, and not next to it, by promtool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operations.alert_cases import CALM, FIRES, HEALTHY, Case
from tests.operations.tools import promtool

pytestmark = pytest.mark.covers("metrics:alerts")

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "compose" / "prometheus" / "rules.yml"
CONFIG = ROOT / "compose" / "prometheus" / "prometheus.yml"


def rules() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def run(*arguments: str, cwd: Path = ROOT) -> None:
    done = subprocess.run([promtool(), *arguments], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_with_rules_and_configuration() -> None:
    run("check", "rules", str(RULES))
    run("check", "config", str(CONFIG))


def unit_test(*cases: tuple[str, Case, frozenset[str]]) -> dict[str, Any]:
    """That of each case exactly the named alerts fire then. Each is a cluster of its own, all are looked at in one run: promtool takes its
    time. They are looked for in Prometheus' own series of alerts, which needs none of the texts."""
    return {
        "interval": "5s",
        "input_series": [one for cluster, case, _ in cases for one in series_of(cluster, case)],
        "promql_expr_test": [
            {
                "expr": f'group by (alertname) (ALERTS{{alertstate="firing",job=~"({cluster})?"}})',
                "eval_time": case.at,
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(firing)],
            }
            for cluster, case, firing in cases
        ],
    }


def series_of(cluster: str, case: Case) -> Iterator[dict[str, str]]:
    all_series: Mapping[str, str | None] = {**HEALTHY, **case.changes}
    for series, values in all_series.items():
        if values is not None:
            yield {"series": series.replace('job="zjp"', f'job="{cluster}"'), "values": values}


def check_rules(folder: Path, *units: dict[str, Any]) -> None:
    document = {"rule_files": [str(RULES)], "evaluation_interval": "10s", "tests": units}
    (folder / "units.json").write_text(json.dumps(document))
    run("test", "rules", str(folder / "units.json"))


def test_each_alert_fires_in_its_case_and_no_other_does(tmp_path: Path) -> None:
    alone = "ZjpNobodyAnswers"
    clusters = [
        ("zjp-healthy", Case({}, "6m"), frozenset()),
        *((f"zjp-{name}", case, case.with_it | {name}) for name, case in FIRES.items() if name != alone),
        *((f"zjp-not-{name}", case, case.with_it) for name, case in CALM.items() if name != alone),
    ]
    nobody, somebody = (
        (f"zjp-{alone}", cases[alone], names) for cases, names in ((FIRES, frozenset({alone})), (CALM, frozenset()))
    )
    check_rules(tmp_path, unit_test(*clusters), unit_test(nobody), unit_test(somebody))


def test_each_alert_has_a_case_of_either_kind() -> None:
    assert set(FIRES) == set(CALM) == set(rules())


def test_texts_of_an_alert_are_filled_in(tmp_path: Path) -> None:
    """One as it reaches people; that the templates of all are sound is checked with the rules."""
    annotations = {key: text.strip() for key, text in rules()["ZjpNodeSilent"]["annotations"].items()}
    annotations["summary"] = "The node of node-2:9090 does not answer"
    labels = {"severity": "critical", "job": "zjp", "instance": "node-2:9090"}
    unit = unit_test(("zjp", FIRES["ZjpNodeSilent"], frozenset({"ZjpNodeSilent"})))
    expected = {
        "alertname": "ZjpNodeSilent",
        "eval_time": "1m35s",
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
    }
    check_rules(tmp_path, {**unit, "alert_rule_test": [expected]})


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    guide = (ROOT / "docs" / "monitoring.md").read_text()
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert (page, heading) == ("docs/monitoring.md", name.lower())
        assert re.search(rf"^### {name}$", guide, re.MULTILINE), f"docs/monitoring.md has no heading {name}"
