"""Which files the demo indexes: real ones of a folder, and ten that no decoder accepts, made for the purpose."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

FILES_WANTED = 1_500
"""Of the standard library; where it was stripped (no tests), installed packages make up the number."""
FILES_MAX = 2_500
"""Keeps the demo within its minute on a slow machine."""
UNDECODABLE = 10
INSTALLED = ("site-packages", "dist-packages")


def library_files() -> list[bytes]:
    """The *.py files of the running Python's standard library, sorted."""
    found = sorted(_python_files(sysconfig.get_paths()["stdlib"], without=INSTALLED))
    if len(found) < FILES_WANTED:
        found += sorted(_python_files(sysconfig.get_paths()["purelib"]))[: FILES_WANTED - len(found)]
    return found[:FILES_MAX]


def folder_files(folder: Path) -> list[bytes]:
    """Every regular file below `folder`, sorted; links are not followed, hidden folders are left out."""
    found = []
    for parent, folders, names in os.walk(os.fsencode(folder)):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        found += [path for path in (os.path.join(parent, name) for name in names) if _is_regular(path)]
    return sorted(found)[:FILES_MAX]


def make_undecodable(folder: Path) -> list[bytes]:
    """Ten files of bytes that are no UTF-8, each different."""
    folder.mkdir()
    paths = [folder / f"undecodable-{number}.py" for number in range(UNDECODABLE)]
    for number, path in enumerate(paths):
        path.write_bytes(b"# not text \xff\xfe\x80" + bytes([number]) * (number + 1))
    return [os.fsencode(path) for path in paths]


def as_payload(path: bytes) -> str | bytes:
    """Text where the name is text; names in unknown encodings travel as they are."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return path


def _python_files(folder: str, without: tuple[str, ...] = ()) -> Iterator[bytes]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in without]
        yield from (os.fsencode(os.path.join(parent, name)) for name in names if name.endswith(".py"))


def _is_regular(path: bytes) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)
