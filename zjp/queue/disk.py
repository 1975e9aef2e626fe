"""Room on the disk: the watermark under which submits are refused, and the ballast that lets jobs finish when it is full all the same.

A deletion needs room too: the journal grows before it can shrink. So 8 MiB are set aside in a file beside the database, and given
up, a part at a time, when a commit fails for want of room.

None of this is needed to write a job, so what goes wrong with it is never told: somebody removed the ballast to make room, or moved the
folder, where what is open goes on to be written.
"""

from __future__ import annotations

import contextlib
import os

BALLAST_BYTES = 8 << 20
"""Some 50,000 finished jobs: long enough for the records' writer to empty the outbox, whose rows are then reused."""
BALLAST_PART_BYTES = 2 << 20
"""The log takes what it gets. Parts leave some to the file, without whose growth the log cannot be emptied and used again."""
CHECK_EVERY_S = 1.0
TIGHT_BYTES = 64 << 20
"""Above the reserve."""


class Disk:
    """One file's disk. The ballast is handled by the writer's thread, the watermark by the loop."""

    def __init__(self, path: str, reserve_bytes: int) -> None:
        self._folder = os.path.dirname(os.path.abspath(path))
        self._ballast = f"{path}.ballast"
        self._reserve_bytes = reserve_bytes
        self._checked_at = float("-inf")
        self._is_low = self._is_tight = False
        self._ballast_bytes = 0

    def is_low(self, now: float) -> bool:
        if now - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = now
            with contextlib.suppress(OSError):
                free_bytes = self.free_bytes()
                self._is_low = free_bytes < self._reserve_bytes
                self._is_tight = free_bytes < self._reserve_bytes + TIGHT_BYTES
        return self._is_low

    def is_tight(self, now: float) -> bool:
        """It may be full before it is looked at again: what is written had better be small."""
        return self.is_low(now) or self._is_tight

    def free_bytes(self) -> int:
        """Raises: OSError."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def fill_ballast(self) -> None:
        """Set the room aside, when there is room for it above the reserve."""
        if self._ballast_bytes == BALLAST_BYTES:
            return
        with contextlib.suppress(OSError):  # a file system without fallocate: the watermark alone has to do
            if self.free_bytes() < self._reserve_bytes + 2 * BALLAST_BYTES:
                return
            file = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, BALLAST_BYTES)
                self._ballast_bytes = BALLAST_BYTES
            finally:
                os.close(file)

    def drop_ballast(self) -> bool:
        """Give up a part of it. True when this made room."""
        if not self._ballast_bytes:
            return False
        self._ballast_bytes -= BALLAST_PART_BYTES
        try:
            os.truncate(self._ballast, self._ballast_bytes)
        except OSError:
            return False
        return True
