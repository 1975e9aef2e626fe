"""What a machine can keep of the project's style; import contracts stand in setup.cfg and are run from here."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from zjp.config import TABLE
from zjp.config.load import PREFIX
from zjp.metrics import TABLE as METRICS

pytestmark = pytest.mark.covers("main-path:1")

ROOT = Path(__file__).parent.parent
PRODUCT = ("zjp", "sims")
CODE = (*PRODUCT, "tests", "benchmarks", "examples", "scripts")
LINES_MAX = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "base", "misc", "core_utils", "stuff"}
ENVIRONMENT_READERS = {"zjp/config/load.py", "zjp/worker/environment.py"}
"""The settings; and what hands the environment on to worker processes, reading none of it."""
SLEEPERS = {"tests/fakes.py", "tests/mischief.py"}
"""Tasks are what takes time there."""
PURE = ("zjp.errors", "zjp.units", "zjp.retry", "zjp.job", "zjp.schedule", "zjp.task", "zjp.balance", "zjp.metrics", "zjp.client.session")
DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
NOT_SETTINGS = {"NO_COLOR", "EX_CONFIG", "PYTHON_VERSION"}
"""Upper-case words the README may use that are no settings of zjp."""
SETTINGS_THROUGH = {
    "worker_processes": "process_count",
    "records_ttl_s": "records_ttl_effective_s",
    "auth_enabled": "auth_effective",
    "curve_dir": "curve_folder",
    "zmq_advertise": "advertise_address",
    "cluster_size": "cluster_size_effective",
    "election_timeout_s": "election_times_s",
    "election_interval_s": "election_times_s",
}
"""Settings that are read through a property which knows their default."""
NOT_METRICS = {"zjp_data"}


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> set[str]:
    """Every dotted name the file imports, with the names taken from it."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def attributes(path: Path) -> set[str]:
    """Every `module.name` the file mentions."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def test_no_file_is_longer_than_the_limit() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in files(*CODE)}
    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_every_module_of_the_product_says_what_lives_in_it() -> None:
    paths = [path for path in files(*PRODUCT) if path.read_text().strip()]
    assert [named(path) for path in paths if not ast.get_docstring(tree(path))] == []


def test_no_file_or_folder_has_a_vague_name() -> None:
    parts = {(named(path), part) for path in files(*CODE) for part in path.relative_to(ROOT).with_suffix("").parts}
    assert [name for name, part in parts if part.removeprefix("test_").strip("_") in VAGUE_NAMES] == []


def test_only_the_settings_read_the_environment() -> None:
    names = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    readers = {named(path) for path in files(*PRODUCT) if (attributes(path) | imported(path)) & names}
    assert {name for name in readers if name.startswith("zjp/")} == ENVIRONMENT_READERS


def test_every_available_setting_is_used_somewhere() -> None:
    """Accepted and ignored would be a lie; what is not built yet says `later`."""
    users = [path for path in files("zjp") if named(path) != "zjp/config/table.py"]
    used = {node.attr for path in users for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    available = [row for row in TABLE.values() if not row.later]
    assert [row.name for row in available if not {row.field, SETTINGS_THROUGH.get(row.field)} & used] == []


def test_nothing_is_patched_by_name() -> None:
    forbidden = {"mock", "unittest.mock"}
    assert [named(path) for path in files("tests") if imported(path) & forbidden] == []


def test_tests_do_not_sleep() -> None:
    sleepers = {named(path) for path in files("tests") if "time.sleep" in attributes(path) | imported(path)}
    assert sleepers <= SLEEPERS


def test_product_unpickles_evaluates_and_shells_nothing() -> None:
    found = []
    for path in files("zjp"):
        found += [(named(path), name) for name in imported(path) & DANGEROUS_MODULES]
        found += [(named(path), name) for name in attributes(path) & {"os.system", "os.popen", "yaml.load"}]
        for call in calls(path):
            if isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec", "compile"):
                found.append((named(path), call.func.id))
            found += [(named(path), "shell=") for keyword in call.keywords if keyword.arg == "shell"]
    assert found == []


def test_asyncio_sockets_of_zeromq_are_not_used() -> None:
    assert [named(path) for path in files(*CODE) if "zmq.asyncio" in imported(path) | attributes(path)] == []


def test_readme_names_only_settings_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    words = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", readme))
    words |= {word.removeprefix(PREFIX) for word in re.findall(r"\bZJP_[A-Z0-9_]*[A-Z0-9]\b", readme)}
    secret_files = {f"{name}_FILE" for name, row in TABLE.items() if row.secret}
    assert words - set(TABLE) - secret_files - NOT_SETTINGS == set()


def test_readme_names_only_metrics_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    words = set(re.findall(r"\bzjp_[a-z_]+[a-z]\b", readme))
    assert words - set(METRICS) - NOT_METRICS == set()


def test_generated_and_written_texts_name_no_path_of_a_machine() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *files(*CODE)]
    homes = re.compile(r"/(home|Users|root)/[a-z]")
    assert [named(path) for path in texts if homes.search(path.read_text()) and path != Path(__file__)] == []


def test_import_contracts_hold() -> None:
    run = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pure_parts_are_named_in_their_contract() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    sources = config["importlinter:contract:pure"]["source_modules"].split()
    existing = [part for part in PURE if (ROOT / part.replace(".", "/")).with_suffix(".py").exists()]
    assert [part for part in existing if part not in sources] == []


def test_importing_the_package_loads_no_server_and_no_socket() -> None:
    run = "import sys, zjp, zjp.config, zjp.job, zjp.retry; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert loaded & {"zmq", "asyncio", "uvloop", "sqlite3", "click", "rich", "redis", "pymongo", "starlette"} == set()
