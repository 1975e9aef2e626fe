"""Events as readers get them: those in the records, and this node's own that wait to be written there, in one order.

A page is a span of places (records/events.py), so what the records have and what waits are cut at the same one: nothing is shown twice, and
nothing that waits is passed over.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import WireError
from ..records.events import Event, EventFilter, EventPage, place_of, span_of
from ..records.store import RecordStore
from ..wire import messages as m
from ..wire.desk import EVENTS_MAX, AskEvents, Events, SeenEvent
from .askers import Asker
from .chronicle import Chronicle

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class EventDesk:
    def __init__(self, chronicle: Chronicle, records: RecordStore) -> None:
        self._chronicle, self._records = chronicle, records

    async def ask(self, request: AskEvents, asker: Asker) -> m.Reply:
        """Raises: WireError, InvalidJob on a cursor that is none, StoreUnavailable."""
        if not 1 <= request.limit <= EVENTS_MAX:
            raise WireError(f"limit is {request.limit}, it must be 1 to {EVENTS_MAX}")
        if request.since_ms < 0 or request.until_ms < 0:
            raise WireError("since and until are times in ms since 1970, they cannot be below 0")
        wanted = EventFilter(request.kind, request.since_ms, request.until_ms)
        page = await self._records.list_events(wanted, request.cursor, request.limit)
        events, cursor = _joined(page, self._waiting(wanted, request.cursor), request.limit)
        return Events([_seen(one) for one in events], cursor)

    def _waiting(self, wanted: EventFilter, cursor: bytes) -> list[Event]:
        least, below = span_of(wanted, cursor)
        return [
            one for one in self._chronicle.waiting() if wanted.kind in ("", one.kind) and least <= place_of(one) < below
        ]


def _joined(page: EventPage, waiting: list[Event], limit: int) -> tuple[list[Event], bytes]:
    """The newest `limit` of both, and where to go on."""
    found = {place_of(one): one for one in page.events}
    found |= {place: one for one in waiting if (place := place_of(one)) >= page.cursor}
    places = sorted(found, reverse=True)
    events = [found[place] for place in places[:limit]]
    return events, places[limit - 1] if len(places) > limit else page.cursor


def _seen(one: Event) -> SeenEvent:
    data = _decode(one.data)
    what, who = str(data.pop("what", "")), str(data.pop("who", ""))
    return SeenEvent(one.id, one.at_ms, one.kind, one.node, what, one.subject, who, _encode(data))
