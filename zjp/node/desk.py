"""What the HTTP door and operators ask of a node beyond jobs, joined: each part answers its own requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..queue.store import QueueStore
from ..records.store import RecordStore
from ..wire import messages as m
from ..wire.desk import AskEvents, AskFailures, AskFeed, AskUsers, Note, PutUser, RemoveJobs, RemoveUser
from .askers import Asker
from .chronicle import Chronicle
from .events import EventDesk
from .failures import FailureDesk, List
from .feed import FeedDesk
from .removal import Cancel, Removal
from .users import Users


class NodeDesk:
    """`start`, then `stop`."""

    def __init__(
        self, queue: QueueStore, records: RecordStore, chronicle: Chronicle, feed: FeedDesk, *, list_jobs: List, cancel: Cancel
    ) -> None:  # fmt: skip
        self._users, self._feed = Users(queue), feed
        self._events, self._failures = EventDesk(chronicle, records), FailureDesk(list_jobs)
        self._removal = Removal(queue, records, cancel)

    @property
    def answers(self) -> Mapping[type, Callable[..., Awaitable[m.Reply]]]:
        return {
            AskUsers: self._users.ask,
            PutUser: self._users.put,
            RemoveUser: self._users.remove,
            AskEvents: self._events.ask,
            AskFailures: self._failures.ask,
            AskFeed: self._feed.ask,
            RemoveJobs: self._removal.ask,
            Note: _noted,
        }

    def start(self) -> None:
        self._removal.start()

    async def stop(self) -> None:
        await self._removal.stop()


async def _noted(request: Note, asker: Asker) -> m.Reply:
    """The audit writes it down, as it does all that is carried out."""
    return m.Done()
