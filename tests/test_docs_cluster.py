"""The command lines of README and docs that start nodes, as they stand: with their own ports, in a network that nobody else is in."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks
from zjp.config import inherited_environment

NEEDS_A_NETWORK = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="a network of its own needs root, unshare and ip",
)
pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:judged:2", "cluster:joined"), NEEDS_A_NETWORK]

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
    process = subprocess.Popen(
        ["unshare", "--net", "bash", "-c", AROUND + script],
        cwd=folder, env={**inherited_environment(), "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the shell alone would leave its nodes behind
        out, err = process.communicate()
        pytest.fail(f"not done after {LIMIT_S:g} s:\n{out[-3000:]}\n{err[-3000:]}")
    assert process.returncode == 0, f"{out[-3000:]}\n{err[-3000:]}"
    return out


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


def test_line_of_the_page_on_clusters_starts_nodes_that_share_a_queue(tmp_path: Path) -> None:
    """The same line "on each machine": here on one, so the second has other ports and another folder."""
    (shown,) = blocks("docs/cluster.md", "")
    (tmp_path / "tasks.py").write_text("from examples.tasks import app\n")
    line = shown.strip().replace("redis.internal", "127.0.0.1").replace("/var/lib/zjp", "./data-1")
    other = line.replace("data-1", "data-2") + " --zmq-bind tcp://127.0.0.1:5571 --server-port 8081 --metrics-port 9091"
    script = f"""
{line} 2>>nodes.log &
{other} 2>>nodes.log &
within 'zjp submit email recipient=a@example.com subject=hi --wait'
within 'zjp --address tcp://127.0.0.1:5571 jobs list --status completed | grep email'
"""
    in_a_network_of_its_own(script, tmp_path)


def test_node_of_the_guide_to_http_starts_and_lets_its_users_in(tmp_path: Path) -> None:
    (line,) = blocks("docs/http.md", "")
    login = blocks("docs/http.md", "bash")[0]
    told = in_a_network_of_its_own(f"{line.strip()} 2>>nodes.log &\nwithin 'curl -sf http://localhost:8080/readyz'\n{login}", tmp_path)
    assert '"role":"user"' in told


def test_requests_of_the_readme_do_what_they_show(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("README.md", "") if block.startswith("curl"))
    (start,) = (block.splitlines()[-1] for block in blocks("README.md", "") if block.startswith("source .venv/bin/activate"))
    script = f"""
{start} 2>>nodes.log &
within 'curl -sf http://localhost:8080/readyz'
{shown}
within 'curl -sf "http://localhost:8080/api/v1/jobs?status=completed&type=email" | grep -q user@example.com'
curl -sf http://localhost:9090/metrics | grep -c zjp_build_info
"""
    told = in_a_network_of_its_own(script, tmp_path)
    assert '"existed":false' in told


def test_keys_of_the_page_on_security_let_a_client_in_as_it_shows(tmp_path: Path) -> None:
    """Node and client in a folder each. What stands in the blocks for something of the reader's is put in: its application, the folder of
    its data, the node's public key."""
    node, client, environment = blocks("docs/security.md", "")
    make, start = node.strip().splitlines()
    producer, authorize = (line.partition("#")[0] for line in client.strip().splitlines())
    hup = client.partition("then: ")[2].strip().replace("DATA_DIR", "zjp-data")
    (tmp_path / "client").mkdir()
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "shop.py").write_text("from examples.tasks import app\n")
    settings = environment.partition("#")[0].replace("node1", "127.0.0.1").replace("5f0c...", "$(cat ../public)")
    script = f"""
cd node
{make.partition("#")[0]} > ../public
{start} 2>>../nodes.log &
(cd ../client && {producer})
cp ../client/web.pub .
{authorize}
within 'test -s zjp-data/lock'
cd ../client
export {settings}
asks() {{ (cd ../node && {hup}); zjp submit email recipient=a@example.com subject=hi --wait; }}
within asks
asks
"""
    assert "a@example.com" in in_a_network_of_its_own(script, tmp_path)
