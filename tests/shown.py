"""The fenced blocks of the pages that people read: of which page and kind, and what stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("*.md", "docs/**/*.md", "compose/*.md", "deploy/**/*.md", "examples/**/*.md")
_BLOCK = re.compile(r"^( *)(```+|~~~+)([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`kind`: what stands behind the fence, such as python; empty: nothing."""

    page: str
    kind: str
    text: str


def pages() -> list[str]:
    return sorted({path.relative_to(ROOT).as_posix() for pattern in FOLDERS for path in ROOT.glob(pattern)})


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    found = _BLOCK.findall((ROOT / page).read_text())
    return tuple(Block(page, kind.strip(), text) for _, _, kind, text in found)
