"""Index the files of a folder, one job per file: SHA-256, bytes, lines, longest line.

    python -m examples.index_folder [FOLDER]

What to see here: many small jobs in one `submit_many`; files that are no text fail at once by `Discard`, without
retries; results are read as they come; and in the end everything is compared with a plain loop over the same files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from examples.local_node import local_node
from zjp import App, Discard, JobState

app = App()

DEFAULT_FOLDER = Path(json.__file__).parent.parent / "encodings"
"""A folder that every Python has."""
Index = dict[str, Any]


def index_of(path: Path) -> Index:
    """Raises: UnicodeDecodeError."""
    content = path.read_bytes()
    lines = content.decode("utf-8").splitlines()
    longest = max(map(len, lines), default=0)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "lines": len(lines),
        "longest": longest,
    }


@app.task("index", timeout="30s")
def index(path: str) -> Index:
    try:
        return index_of(Path(path))
    except UnicodeDecodeError as fault:
        raise Discard(f"{path} is no UTF-8 text: {fault}") from None


def index_plainly(files: list[Path]) -> dict[str, Index | None]:
    """The same without zjp; None for what is no text."""
    found: dict[str, Index | None] = {}
    for path in files:
        try:
            found[str(path)] = index_of(path)
        except UnicodeDecodeError:
            found[str(path)] = None
    return found


def main(folder: Path) -> int:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    indexed: dict[str, Index | None] = {}
    with local_node("examples.index_folder:app") as zjp:
        jobs = zjp.submit_many([("index", {"path": str(path)}) for path in files])
        for job in zjp.as_completed(jobs, timeout=60):
            indexed[job.payload["path"]] = job.result if job.status is JobState.COMPLETED else None
    is_same = indexed == index_plainly(files)
    kinds = Counter("no text" if found is None else "indexed" for found in indexed.values())
    print(f"{folder}: {len(files)} files, {kinds['indexed']} indexed, {kinds['no text']} no text")
    print("same as a plain loop" if is_same else "NOT the same as a plain loop")
    return 0 if is_same and files else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
