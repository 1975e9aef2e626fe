"""What stands beside the jobs in Redis: the leadership, users, schedules. Small, rare, each change a compare-and-set in a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..store import Beside, Document, DocumentKind, Lead


class Standing:
    """What RedisQueueStore is of this; it needs nothing but a way to ask."""

    async def _ask(self, name: str, arguments: list[Any], lane: str = "other") -> Any:
        raise NotImplementedError

    async def claim_lead(self, owner: str, epoch: int, for_s: float, *, is_elected: bool = False) -> Lead:
        _, installed, holder, left_ms = await self._lead(b"claim", owner, epoch, for_s, is_elected)
        return Lead(installed, holder.decode(), left_ms / 1000)

    async def renew_lead(self, owner: str, epoch: int, for_s: float) -> bool:
        return bool((await self._lead(b"renew", owner, epoch, for_s))[0])

    async def release_lead(self, owner: str, epoch: int) -> bool:
        return bool((await self._lead(b"release", owner, epoch))[0])

    async def _lead(self, deed: bytes, owner: str, epoch: int, for_s: float = 0.0, is_elected: bool = False) -> Sequence[Any]:
        reply: Sequence[Any] = await self._ask("lead", [deed, owner, epoch, round(for_s * 1000), b"1" if is_elected else b"0"])
        return reply

    async def documents(self, kind: DocumentKind) -> Sequence[Document]:
        rows = await self._ask("HGETALL", [b"doc:" + kind.value.encode()])
        flat = [part for pair in rows.items() for part in pair] if isinstance(rows, dict) else rows
        found = []
        for at in range(0, len(flat), 2):
            version, _, data = flat[at + 1].partition(b":")
            found.append(Document(flat[at].decode(), data, int(version)))
        return sorted(found, key=lambda document: document.name)

    async def put_document(self, kind: DocumentKind, name: str, data: bytes, version: int, *, beside: Beside | None = None) -> int:
        return int(await self._ask("document", [kind.value, name, version, b"put", data, *(beside or ("", 0))]))

    async def remove_document(self, kind: DocumentKind, name: str, version: int, *, beside: Beside | None = None) -> bool:
        return bool(await self._ask("document", [kind.value, name, version, b"remove", b"", *(beside or ("", 0))]))
