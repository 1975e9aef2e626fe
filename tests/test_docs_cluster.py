"""The command lines of README and docs that start nodes, as they stand: with their own ports, in a network that nobody else is in."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks
from zjp.config import inherited_environment

pytestmark = [
    pytest.mark.system,
    pytest.mark.covers("main-path:judged:2", "cluster:joined"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
        reason="a network of its own needs root, unshare and ip",
    ),
]

LIMIT_S = 90.0
AROUND = """
set -e
ip link set lo up
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
redis-server --port 6379 --save "" --appendonly no --dir . >/dev/null &
until redis-cli -p 6379 ping >/dev/null 2>&1; do sleep 0.05; done
within() {
    local end=$((SECONDS + 60))
    until eval "$1" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "never: $1"; exit 1; }
        sleep 0.1
    done
}
"""


def in_a_network_of_its_own(script: str, folder: Path) -> str:
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("redis-server is not installed")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", AROUND + script],
        cwd=folder, env={**inherited_environment(), "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def started(block: str) -> str:
    """Its commands, each in the background; what comes after the nodes is left out."""
    commands = block.replace("\\\n", " ").splitlines()
    return "".join(f"{line} 2>>nodes.log &\n" for line in commands if line.startswith("python -m zjp.node"))


def test_two_nodes_of_the_readme_share_a_queue_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    shown = [block for block in blocks("README.md", "") if "./node-2" in block and "cluster-size" not in block]
    script = (
        started(shown[0])
        + """
within 'zjp submit email recipient=a@example.com subject=hi --wait'
within 'zjp --address tcp://127.0.0.1:5571 submit email recipient=a@example.com subject=hi --wait'
within 'curl -sf http://localhost:8081/readyz'
kill -9 %2
zjp --address tcp://127.0.0.1:5570,tcp://127.0.0.1:5571 submit email recipient=a@example.com subject=hi --wait
"""
    )
    assert "a@example.com" in in_a_network_of_its_own(script, tmp_path)
    (of_operations,) = (block for block in blocks("docs/operations.md", "") if "./node-2" in block)
    assert of_operations == shown[0].replace("examples.tasks:app", "tasks:app"), "the same commands on both pages"


def test_three_nodes_of_the_readme_elect_a_leader(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("README.md", "") if "--cluster-size 3" in block)
    script = (
        started(shown)
        + """
within '[[ $(zjp cluster nodes --json | grep -c "\\"alive\\"") == 3 ]]'
within 'zjp cluster leader'
within 'curl -sf http://localhost:8082/api/v1/leader | grep -q "\\"is_in_office\\":"'
"""
    )
    told = in_a_network_of_its_own(script + shlex.join(shown.splitlines()[-1].split()), tmp_path)
    assert told.count("alive") == 3


def test_requests_of_the_readme_do_what_they_show(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("README.md", "") if block.startswith("curl"))
    script = f"""
python -m zjp.node --app examples.tasks:app 2>>nodes.log &
within 'curl -sf http://localhost:8080/readyz'
{shown}
within 'curl -sf "http://localhost:8080/api/v1/jobs?status=completed&type=email" | grep -q user@example.com'
curl -sf http://localhost:9090/metrics | grep -c zjp_build_info
"""
    told = in_a_network_of_its_own(script, tmp_path)
    assert '"existed":false' in told


def test_keys_of_the_page_on_security_are_made_as_it_shows(tmp_path: Path) -> None:
    node, client, _ = blocks("docs/security.md", "")
    lines = [
        line.partition("#")[0] for block in (node, client) for line in block.splitlines() if line.startswith("zjp keys")
    ]
    assert len(lines) == 3
    in_a_network_of_its_own("export DATA_DIR=./data\n" + "\n".join(lines), tmp_path)
    assert (tmp_path / "data" / "curve" / "node.key").exists() or list(tmp_path.rglob("node.key"))
    assert "web" in "".join(path.read_text() for path in tmp_path.rglob("authorized/*"))
