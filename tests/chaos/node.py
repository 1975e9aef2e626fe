"""The node under chaos: `zjp.node` as it is, but its queue store is recorded, and may be one with a planted bug.

    CHAOS_DIR     the run's folder; the lines of this life go to `h/n<process number>.jsonl`
    CHAOS_STORE   which store of planted.py or planted_redis.py, empty for the real one

It ends at once when its stdin does: nothing outlives the runner, however that ends.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import zjp.node.node
import zjp.queue.redis
from sims.history import Recorder
from tests.chaos import planted_redis
from tests.chaos.leads import LeadRecordingStore
from tests.chaos.planted import STORE_VARIABLE, STORES
from tests.chaos.processes import number_of
from tests.chaos.tasks import FOLDER_VARIABLE
from zjp.config import Settings
from zjp.node.__main__ import main
from zjp.node.stores import make_queue
from zjp.queue.store import FinishedLookup


def recorded(settings: Settings, folder: Path, finished: FinishedLookup) -> LeadRecordingStore:
    """The chosen store, and around it the one that writes down what it is asked and what it answers."""
    run = Path(os.environ[FOLDER_VARIABLE])
    chosen = os.environ.get(STORE_VARIABLE, "")
    if settings.redis_addr is not None:
        setattr(zjp.queue.redis, "RedisQueueStore", planted_redis.STORES[chosen])  # noqa: B010 - make_queue has no other door for it
        store = make_queue(settings, folder, finished)
    else:
        store = make_queue(settings, folder, finished, embedded=partial(STORES[chosen], run))
    name = f"n{number_of(os.getpid())}"
    return LeadRecordingStore(store, Recorder(run / "h" / f"{name}.jsonl", name), lease_ms=int(settings.lease_duration_s * 1000))


def die_with_stdin() -> None:
    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    die_with_stdin()
    setattr(zjp.node.node, "make_queue", recorded)  # noqa: B010 - the node has no other door for a store
    main()
