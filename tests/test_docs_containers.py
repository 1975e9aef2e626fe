"""compose/README.md: its commands in one shell, in the order of the page, with tests/deploy/paper_docker.py for a `docker`.

So every command is read by a parser of compose's options, every file, service and variable that it names is there, and what runs within a
container runs for real against one node and one Redis on this machine: users, log-in, submits, the producer, the Redis side of the backup.
Not run here: the engine and its images (`python -m tests.deploy.containers` does that, docs/reports/containers.md), mongodump, and copying
from a volume.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.stage import SECRETS
from tests.shown import ROOT, blocks_of
from tests.test_docs_cluster import NEEDS_A_NETWORK, in_a_network_of_its_own
from zjp.config import TABLE

pytestmark = [pytest.mark.system, pytest.mark.covers("deployments:readme")]

PAGE = "compose/README.md"
PASSWORD = "a long one, for a test"
LOGIN = 'curl -X POST http://localhost:8080/auth/login -H "Content-Type: application/json" -d \'{"username": "admin", "password": "..."}\''
AROUND = """
mkdir bin
printf '#!/bin/sh\\nexec {python} -m tests.deploy.paper_docker "$@"\\n' > bin/docker
chmod +x bin/docker
export PATH="$PWD/bin:$PATH" PAPER_DOCKER="$PWD/notes" PAPER_PASSWORD="$PWD/password" DATA_DIR="$PWD/data"
echo '{password}' > password
docker() {{  # the first `up` starts what it stands for
    if [[ "$*" == *" up "* && ! -e data ]]; then
        . ./.env
        JWT_SECRET=$JWT_SECRET python -m zjp.node --app examples.tasks:app --auth-enabled true --redis-addr 127.0.0.1:6379 2>>../nodes.log &
        within 'curl -sf http://localhost:8080/readyz'
    fi
    command docker "$@"
}}
"""


def shell_blocks() -> list[str]:
    return [block.text for block in blocks_of(PAGE) if block.kind == "sh"]


@NEEDS_A_NETWORK
def test_commands_of_the_page_do_what_they_show_but_for_the_engine(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "compose", tmp_path / "compose")
    (tmp_path / "my-tasks").mkdir()
    (dockerfile,) = (block.text for block in blocks_of(PAGE) if block.kind == "dockerfile")
    (tmp_path / "my-tasks" / "Dockerfile").write_text(dockerfile)
    (tmp_path / "my-tasks" / "tasks.py").write_text("from examples.tasks import app\n")
    page = "\n".join(shell_blocks())
    assert LOGIN in page
    with_password = LOGIN.replace("...", PASSWORD)
    page = page.replace(LOGIN, f'TOKEN=$({with_password} -sf | python -c \'import json, sys; print(json.load(sys.stdin)["token"])\')')
    told = in_a_network_of_its_own(AROUND.format(python=sys.executable, password=PASSWORD) + page, tmp_path)
    assert '"type":"email"' in told
    assert "a@example.com" in told
    env = dict(line.split("=", 1) for line in (tmp_path / "compose" / ".env").read_text().splitlines())
    assert {name: len(text) for name, text in env.items()} == dict.fromkeys(SECRETS, 64)
    noted = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    shown = [line.count("docker ") for line in "\n".join(shell_blocks()).splitlines()]
    assert len(noted) == sum(shown) + 2, "each once, but the one of the loop over three nodes"


def test_image_on_top_is_made_of_what_the_image_has() -> None:
    """It copies as the user that the image has, into the folder where the image looks, and sets what is a setting."""
    (shown,) = (block.text for block in blocks_of(PAGE) if block.kind == "dockerfile")
    below = (ROOT / "compose" / "Dockerfile").read_text()
    user, folder = re.findall(r"COPY --chown=(\w+) \S+ (/\w+)/", shown)[0]
    assert f"USER {user}\n" in below
    assert f"WORKDIR {folder}\n" in below.rpartition("\nFROM ")[2]
    for name, text in re.findall(r"^ENV (\w+)=(\S+)$", shown, re.MULTILINE):
        TABLE[name].kind.parse(text)
    assert f"FROM {re.findall(r'ZJP_IMAGE:-([^}]+)', (ROOT / 'compose' / 'services.yml').read_text())[0]}\n" in shown


def test_commands_within_the_text_name_services_and_verbs_that_are_there() -> None:
    text = (ROOT / PAGE).read_text()
    inline = re.findall(r"`(docker compose [^`]+)`", text)
    assert inline
    for line in inline:
        file = line.split()[3]
        services = (ROOT / "compose" / file).read_text()
        for name in re.findall(r"\b(?:node-\d|keys|redis|mongo)\b", line):
            assert f"\n  {name}:\n" in services
