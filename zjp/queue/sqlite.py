"""The queue in one SQLite file, owned by one node: the store as the node's loop sees it.

    loop's thread                    writer's thread (journal.py)     reader's thread
    State: window, claims, outbox    the one write connection         look-ups, listings,
    every method below               operations, many per commit      next rows of a level

A method decides in the loop, puts one operation into the journal and returns when it is committed (`synchronous=FULL`: on the disk) and
applied. Claims are decided from memory and wait for nothing. Where the steps live: submitting.py, claiming.py, moving.py, browsing.py,
recovery.py. Why no job is handed out twice or forgotten between file and memory: window.py.

Leases: one process owns the file, so a lease is lost only when the node's own loop stopped renewing. A pause of the whole process is not
that: a pass that finds the last one more than PAUSE_S ago extends the lease instead of judging it. A lost lease makes every claim
void at once; claims are refused until `renew` has told the node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InvalidJob, StoreFull
from ..job import Attempt, JobFilter, JobSpec, JobState, Record, StoredJob
from . import browsing
from .claiming import ClaimOperation, FinishOperation, OutboxRemoval, ReapOperation
from .database import MEMORY, Database, Lock, open_database, open_reader
from .disk import Disk
from .journal import Journal, Operation
from .layout import QUEUES_MAX, ROW_BITS
from .listing import Lister
from .moving import CancelOperation, PromoteOperation, PurgeLaterOperation, PurgeOperation, RequeueOperation, Statements, Withdrawn
from .recovery import load, recover
from .sessions import Sessions
from .state import OpenClaim, State
