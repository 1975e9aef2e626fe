"""Images for an engine that can fetch none: stand-ins from Debian's packages, under the names that the compose files use.

    python:3.11-slim-bookworm   Debian's Python 3.11 and a folder of wheels, so that `pip install` in the Dockerfile needs no network
    redis                       Debian's redis-server: the real thing, another build
    prom/prometheus             Debian's Prometheus: the real thing, older
    mongo                       mongo-java-server (scripts/mongo_server): speaks the protocol, asks for no password
    grafana/grafana             nothing: it cannot be had from Debian

So the shipped Dockerfile and compose files are what is tested, word for word; what differs is named here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.mongo_server import class_path
from tests.deploy.engine import Engine, Failed, run, told
from tests.system.running import ROOT

HERE = Path(__file__).parent / "standins"
DEBIAN = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,iproute2,redis-server,prometheus"
PYTHON = "python:3.11-slim-bookworm"
OURS = "zjp:latest"


def fetch(folder: Path) -> None:
    """Everything that comes from outside, once: to be called where there is a network, which an engine of one's own has not."""
    root = folder / "rootfs"
    if not (root / "etc" / "pip.conf").exists():
        if not (root / "usr" / "bin" / "python3").exists():
            _must(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), DEBIAN])
        shutil.rmtree(root / "var" / "cache" / "apt" / "archives", ignore_errors=True)
        _wheels(root / "wheels")
        (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    class_path()


def prepare(engine: Engine, folder: Path, names: dict[str, str]) -> None:
    """After `fetch`. `names`: service -> image, as the compose file says. What is there already is not made again."""
    if not engine.has_image(PYTHON):
        _import(engine, folder / "rootfs", PYTHON)
    for service in ("redis", "mongo", "prometheus"):
        if not engine.has_image(names[service]):
            _build(engine, service, names[service], folder)


def build_ours(engine: Engine) -> None:
    """With the Dockerfile that is shipped."""
    engine.docker("build", "--file", str(ROOT / "compose" / "Dockerfile"), "--tag", OURS, str(ROOT))


def _wheels(target: Path) -> None:
    """What the package needs, fetched by the pip of this machine."""
    _must(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target), "--only-binary", ":all:", *_needs()]
    )


def _needs() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # async-timeout: redis wants it on Debian's 3.11.2, not on the newer Python that fetches here.
    needs: list[str] = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        "tzdata",
        "async-timeout",
    ]
    return needs


def _import(engine: Engine, root: Path, name: str) -> None:
    archive = root.with_suffix(".tar")
    _must(["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./sys/*", "-cf", str(archive), "."])
    engine.docker("import", str(archive), name)
    archive.unlink()


def _build(engine: Engine, service: str, name: str, folder: Path) -> None:
    """From standins/SERVICE.Dockerfile; for mongo with the Java runtime of this machine and the jars."""
    context = folder / f"context-{service}"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(HERE, context)
    if service == "mongo":
        _java(context)
    engine.docker("build", "--file", str(context / f"{service}.Dockerfile"), "--tag", name, str(context))


def _java(context: Path) -> None:
    home = Path(os.path.realpath(shutil.which("java") or "")).parent.parent
    shutil.copytree(
        home, context / "java", ignore=shutil.ignore_patterns("src.zip", "jmods", "man", "legal", "demo", "docs")
    )
    classes, jars = class_path().split(os.pathsep)
    shutil.copytree(classes, context / "mongo" / "classes")
    shutil.copytree(Path(jars).parent, context / "mongo" / "jars")


def _must(command: list[str]) -> None:
    try:
        told(run(command), command[:2])
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} took too long") from None
