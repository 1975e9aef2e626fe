"""Where the nodes of one cluster keep their records: each says so beside the task types it serves, and hears of the others.

Nodes of different places do not see one another's records. That is a wrong setting, or a move from one place to the other under way, and no
node can tell which. So none refuses to start, and each warns. A mark in the database would tell one server under two names, but a copy of
the database has it too, and in such a move the warning is wanted most: so places are compared as they are written. What is said is a word
with spaces, which no task type has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..log import event

KEY = "records"
REASON = (
    "records are kept in different places: what is here is not found through those nodes, nor the other way round, so look-ups and waits "
    "say not-found, and a repeat of a finished job may run again; give all nodes the same MONGODB_URI and MONGODB_DATABASE, or none. "
    "Places are compared as they are written: one MongoDB under two names is warned of too, so write its hosts alike"
)
log = logging.getLogger(__name__)


class Places:
    """`here`: where this node keeps them."""

    def __init__(self, node: str, here: str) -> None:
        self._here = here
        self.word = f"{KEY} {node} {here}"
        self._others: dict[str, str] = {}

    def read(self, served: Iterable[str]) -> list[str]:
        """`served`: what the nodes that live said, this one among them. Returns the task types of it; warns once of each change."""
        words = [name for name in served if " " in name]
        told = (word.split(" ", 2)[1:] for word in sorted(words) if word.startswith(f"{KEY} "))
        others = {node: place for node, place in told if place != self._here}
        if others != self._others:
            self._others = others
            if others:
                event(log, logging.WARNING, "records.elsewhere", here=self._here, nodes=others, reason=REASON)
            else:
                event(log, logging.INFO, "records.together", here=self._here)
        return [name for name in served if " " not in name]
