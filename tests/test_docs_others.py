"""The blocks of the pages that no other test runs, as far as a machine without what they need can tell.

Run here: promtool on the configuration and the queries of docs/monitoring.md, kustomize on what deploy/README.md applies. Read by the
program that would take them, and not carried out: the faults of `sims.live` (tests/cluster/test_pulling.py pulls each of them). Not run:
`pip install` of the first lines, which is what a run of these tests begins with; `zjp demo`, which tests/cli/test_demo.py runs; `kubectl
apply`, which needs a cluster.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sims.live.__main__ import main as sims_live
from tests.operations.tools import promtool
from tests.shown import ROOT, blocks_of
from zjp.cli import VERBS
from zjp.config import TABLE

pytestmark = pytest.mark.covers("main-path:judged:2")

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def only(page: str, beginning: str) -> str:
    (found,) = (block.text for block in blocks_of(page) if block.text.startswith(beginning))
    return found


def check_first_lines(text: str) -> None:
    """`python3 -m venv .venv` first, what is installed is this package with an extra that it has, what is run then comes with it."""
    assert text.startswith("python3 -m venv .venv")
    (installed,) = re.findall(r"\.venv/bin/pip install (?:-q )?-e '?(\S+?)'?(?= &&|\n)", text)
    assert installed == "." or installed[2:-1] in EXTRAS


@pytest.mark.covers("main-path:judged:1")
def test_first_two_commands_of_the_readme_name_what_is_there() -> None:
    demo, whole = (block.text for block in blocks_of("README.md") if block.text.startswith("python3 -m venv"))
    for line in (demo, whole):
        check_first_lines(line)
    assert shlex.split(demo)[-2:] == [".venv/bin/zjp", "demo"]
    assert "demo" in VERBS
    makefile = (ROOT / "Makefile").read_text()
    assert shlex.join(shlex.split(whole.rpartition("&&")[2])[1:]) in makefile.replace("$(RUN)", "-m"), "what `make test` does"


def test_first_lines_for_contributors_name_what_is_there() -> None:
    shown = only("CONTRIBUTING.md", "python3 -m venv")
    check_first_lines(shown)
    last = shown.strip().splitlines()[-1].partition("#")[0]
    listed = subprocess.run(shlex.split(last), cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    assert {"make test", "make lint"} <= set(re.findall(r"make [a-z-]+", listed))


@pytest.mark.covers("cluster:live")
def test_faults_of_the_readme_are_lines_that_their_program_takes() -> None:
    for line in only("README.md", "python -m sims.live").splitlines():
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "sims.live"]
        command = sims_live.commands[words[3]]
        with command.make_context(words[3], words[4:]) as context:
            assert context.params["node"] == TABLE["ZMQ_BIND"].default_text.removeprefix("tcp://")


# ── monitoring ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def yaml_of(beginning: str) -> dict[str, Any]:
    found = yaml.safe_load(only("docs/monitoring.md", beginning))
    assert isinstance(found, dict)
    return found


def run_promtool(*arguments: str, cwd: Path) -> None:
    done = subprocess.run([promtool(), *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.covers("metrics:alerts")
def test_promtool_takes_the_configuration_that_the_page_on_monitoring_shows(tmp_path: Path) -> None:
    """With the rules of the compose files beside it, as it names them."""
    shown = yaml_of("scrape_configs:")
    (tmp_path / "prometheus.yml").write_text(only("docs/monitoring.md", "scrape_configs:"))
    shutil.copy(ROOT / "compose" / "prometheus" / "rules.yml", tmp_path)
    run_promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    (job,) = shown["scrape_configs"]
    assert job["job_name"].startswith("zjp"), "or alerts and dashboards do not see it"
    ports = {target.rpartition(":")[2] for group in job["static_configs"] for target in group["targets"]}
    assert ports == {TABLE["METRICS_PORT"].default_text}


@pytest.mark.covers("deployments:kubernetes")
def test_query_for_scaling_counts_each_queue_once(tmp_path: Path) -> None:
    """Every node tells the depth of every queue; what may run now counts. The trigger asks the same, with the fields of the shipped one."""
    query = only("docs/monitoring.md", "sum(max by (queue)").strip()
    depth = 'queue_depth_gauge{{job="zjp",instance="{}",queue="{}",state="{}"}}'
    told = [("a", "default", "pending", 7), ("b", "default", "pending", 7), ("a", "low", "pending", 5), ("a", "low", "scheduled", 90)]
    test = {
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": depth.format(*labels), "values": f"{value}x5"} for *labels, value in told],
            "promql_expr_test": [{"expr": query, "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": 12}]}],
        }],
    }  # fmt: skip
    (tmp_path / "test.yml").write_text(json.dumps(test))
    run_promtool("test", "rules", "test.yml", cwd=tmp_path)
    (trigger,) = yaml_of("triggers:")["triggers"]
    shipped = yaml.safe_load_all((ROOT / "deploy/kubernetes/overlays/keda/scaling.yaml").read_text())
    (example,) = next(one for one in shipped if one["kind"] == "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["query"] == query
    assert (trigger["type"], trigger["metadata"].keys()) == (example["type"], example["metadata"].keys())
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("deployments:kubernetes")
def test_manifests_that_the_page_applies_are_there_and_can_be_rendered() -> None:
    """Files by -f, kustomizations by -k; the overlay that the text names as well. Nothing is applied."""
    lines = [shlex.split(line) for line in only("deploy/README.md", "kubectl").splitlines() if not line.startswith("#")]
    overlay = re.findall(r"`(kubectl apply [^`]+)`", (ROOT / "deploy" / "README.md").read_text())
    assert all(line[:2] == ["kubectl", "apply"] for line in lines)
    for option, path in [line[2:] for line in (*lines, *map(shlex.split, overlay))]:
        if option == "-f":
            assert list(yaml.safe_load_all((ROOT / path).read_text()))
            continue
        assert option == "-k"
        assert (ROOT / path / "kustomization.yaml").exists()
        if shutil.which("kubectl"):
            subprocess.run(["kubectl", "kustomize", path], cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert re.search(r"# .*deploy/kubernetes/base/secret\.example\.yaml", only("deploy/README.md", "kubectl"))
