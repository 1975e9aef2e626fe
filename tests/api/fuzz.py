"""`python -m tests.api.fuzz [--cases N]`: schemathesis against a running API, by the document that the API itself serves.

What it holds: no answer is an error of the server's own, every status and media type is one that the document names, every body has the
documented shape, what breaks the schema is refused, other methods are refused with Allow. Left out: the stream of events, which has no end;
and that everything the schema allows is accepted, because a schema cannot say all that makes a job valid (that a type has no spaces).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.api.running import node_and_api
from tests.system.running import clean_environment
from zjp.api.app import all_routes

LEFT_OUT = ("positive_data_acceptance",)
STREAM = "/api/v1/events"


class Fuzzed(NamedTuple):
    code: int
    cases: int
    text: str


def fuzz(
    url: str, folder: Path, *, per_route: int, seed: int, phases: str = "examples,coverage,fuzzing", more: tuple[str, ...] = ()
) -> Fuzzed:
    """`per_route`: cases made at random for each route, beyond those that follow from the schema."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--max-examples", str(per_route), "--seed", str(seed),
        "--phases", phases, "--exclude-checks", ",".join(LEFT_OUT), "--exclude-path", STREAM, "--continue-on-failure",
        "--request-timeout", "30", "--suppress-health-check", "all", "--generation-database", "none", *more,
    ]  # fmt: skip
    environment = clean_environment({"NO_COLOR": "1", "COLUMNS": "200"})
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) generated", done.stdout)
    return Fuzzed(done.returncode, int(found[1]) if found else 0, done.stdout + done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000, help="at least so many [5000]")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    per_route = -(-chosen.cases // (len(all_routes()) - 1)) + 20
    with tempfile.TemporaryDirectory() as name, node_and_api(Path(name) / "pair") as (_, api):
        found = fuzz(api.url, Path(name), per_route=per_route, seed=chosen.seed)
    print(found.text)
    print(f"{found.cases} cases, exit code {found.code}")
    sys.exit(found.code)


if __name__ == "__main__":
    main()
