"""Planted bugs: each is one line of a real core's file, replaced. An invariant must catch it; a check nobody has seen fail proves nothing.

The bug is loaded beside the right core: the package zjp.election once more, under another name, with that one line changed. All else it
imports (messages, events) is the real thing, so that the simulator knows it. The lists stand in planted_bugs.py.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

import zjp
import zjp.election.core
from zjp.election.core import Config, Core, Uniform

from .cluster import MakeCore

FOLDER = Path(zjp.__file__).parent
SHARED = ("zjp.election.core",)
"""Of the election package, what is not loaded again: events and effects."""


@dataclass(frozen=True, slots=True)
class Planted:
    """`old`: one line of `file` (below zjp/election), without its indent; it must be there exactly once. `new`: what stands there instead.
    `invariants`: those that may catch it, the first is the one that the kept case shows."""

    name: str
    algorithm: str
    file: str
    old: str
    new: str
    invariants: tuple[str, ...]
    seed: int
    profile: str
    nodes: int = 5

    def source(self) -> str:
        """Raises: ValueError when the line is not there once."""
        lines = (FOLDER / "election" / self.file).read_text().splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.strip() == self.old]
        if len(places) != 1:
            raise ValueError(
                f"{self.name}: the line {self.old!r} is in election/{self.file} {len(places)} times, not once"
            )
        line = lines[places[0]]
        lines[places[0]] = line[: len(line) - len(line.lstrip())] + self.new + "\n"
        return "".join(lines)


def make_planted(name: str) -> MakeCore:
    """Raises: KeyError when there is no such bug, ValueError when its line is gone."""
    from .planted_bugs import PLANTED

    bug = PLANTED[name]
    made = _load(bug).make_core

    def make(config: Config, uniform: Uniform) -> Core:
        core: Core = made(bug.algorithm, config, uniform)
        return core

    return make


class _OneLine(SourceLoader):
    """Loads the changed source; no compiled file is read or written."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        return self._source.encode()


class _Finder(MetaPathFinder):
    """Finds the copies of one bug's package."""

    def __init__(self, prefix: str, file: Path, source: str) -> None:
        self._prefix, self._file, self._source = prefix, file, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self._prefix + "."):
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin != str(self._file):
            return found
        return spec_from_loader(
            fullname,
            _OneLine(self._file, self._source),
            origin=found.origin,
            is_package=found.submodule_search_locations is not None,
        )


def _load(bug: Planted) -> ModuleType:
    prefix = f"zjp_planted_{bug.name.replace('-', '_')}"
    made = sys.modules.get(f"{prefix}.election.make")
    if made is not None:
        return made
    source = bug.source()
    importlib.import_module("zjp.election.make")
    for name, module in sorted(sys.modules.items()):
        if name == "zjp" or (name.startswith("zjp.") and (not name.startswith("zjp.election") or name in SHARED)):
            sys.modules[prefix + name.removeprefix("zjp")] = module
    root = ModuleType(prefix)
    root.__path__ = [str(FOLDER)]
    sys.modules[prefix] = root
    sys.meta_path.insert(0, _Finder(prefix, FOLDER / "election" / bug.file, source))
    return importlib.import_module(f"{prefix}.election.make")
