"""Room on the disk: the watermark under which submits are refused, and the ballast that lets jobs finish when it is full all the same.

A deletion needs room too: the journal grows before it can shrink. So 8 MiB are set aside in a file beside the database, and given
up when a commit fails for want of room.

None of this is needed to write a job, so what goes wrong with it is never told: somebody removed the ballast to make room, or moved the
folder, where what is open goes on to be written.
"""

from __future__ import annotations

import contextlib
import os

BALLAST_BYTES = 8 << 20
"""Some 50,000 finished jobs: long enough for the records' writer to empty the outbox, whose rows are then reused."""
CHECK_EVERY_S = 1.0


class Disk:
    """One file's disk. The ballast is handled by the writer's thread, the watermark by the loop."""

    def __init__(self, path: str, reserve_bytes: int) -> None:
        self._folder = os.path.dirname(os.path.abspath(path))
        self._ballast = f"{path}.ballast"
        self._reserve_bytes = reserve_bytes
        self._checked_at = float("-inf")
        self._is_low = False
        self._has_ballast = False

    def is_low(self, now: float) -> bool:
        if now - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = now
            with contextlib.suppress(OSError):
                self._is_low = self.free_bytes() < self._reserve_bytes
        return self._is_low

    def free_bytes(self) -> int:
        """Raises: OSError."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def fill_ballast(self) -> None:
        """Set the room aside, when there is room for it above the reserve."""
        if self._has_ballast:
            return
        with contextlib.suppress(OSError):  # a file system without fallocate: the watermark alone has to do
            if self.free_bytes() < self._reserve_bytes + 2 * BALLAST_BYTES:
                return
            file = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, BALLAST_BYTES)
                self._has_ballast = True
            finally:
                os.close(file)

    def drop_ballast(self) -> bool:
        """True when this made room."""
        if not self._has_ballast:
            return False
        self._has_ballast = False
        try:
            os.truncate(self._ballast, 0)
        except OSError:
            return False
        return True
