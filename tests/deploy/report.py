"""What a run of the containers came to, for docs/reports/containers.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.deploy.steps import Step

STANDINS = """\
The machine had no image registry. The Dockerfile and the compose files were run as they are shipped, under the image names that they
use; behind the names were stand-ins: `python:3.11-slim-bookworm`, `redis` and `prom/prometheus` made of Debian 12's packages (Python
3.11.2, Redis 7.0, Prometheus 2.42), `mongo` as mongo-java-server, which asks for no password, so `MONGODB_URI` was laid over without
one. **Not run**: Grafana (its image cannot be had; `docker compose config` and the schema accept the service, its dashboards are tested
against Prometheus), MongoDB itself and its password, the official images' entry points under `read_only` and without capabilities.
"""


def markdown(command: str, facts: Mapping[str, str], seen: Mapping[str, Sequence[Step]], *, has_standins: bool) -> str:
    steps = [step for each in seen.values() for step in each]
    good = sum(step.is_good for step in steps)
    lines = ["# The compose files on a real engine", "", f"    {command}", ""]
    lines += [f"{name}: {fact}." for name, fact in facts.items()]
    lines += ["", f"**{'Good' if good == len(steps) else 'Not good'}**: {good} of {len(steps)} steps.", ""]
    lines += [STANDINS] if has_standins else []
    for title, each in seen.items():
        lines += [f"## {title}", "", "| step | held | s | what was seen |", "|---|---|---|---|"]
        lines += [
            f"| {step.what} | {'yes' if step.is_good else '**no**'} | {step.seconds:.1f} | {_cell(step.told)} |"
            for step in each
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:400]
