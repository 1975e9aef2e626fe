"""What the node tells a service manager: systemd's notification protocol, one datagram each to the socket that $NOTIFY_SOCKET names.

    READY=1                       the node takes requests; units that come after it may start
    RELOADING=1 ... READY=1       SIGHUP: keys and log level are read again
    STOPPING=1                    it drains
    WATCHDOG=1                    three times within each WATCHDOG_USEC, from the node's loop: a loop that hangs says nothing, and the
                                  manager restarts the node, as it cannot do for one that only looks alive

Nobody answers, and nothing here may keep the node from its work: without a socket all of it does nothing, and a datagram that cannot be
sent is dropped (the next one comes in time). Only the main process speaks (`NotifyAccess=main`); workers inherit the variable and are not
heard.

Source: sd_notify(3), systemd.service(5).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

from ..config import inherited_environment

BEATS_PER_LIMIT = 3
"""One lost or late beat must not be the end; systemd's own advice is two."""
BEAT_MIN_S = 0.05


class Supervisor:
    """Made once, at the start: `environment` is that of the process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._beat_s = _beat_s(environment)
        self._beating: asyncio.TimerHandle | None = None
        self._is_up = False

    @classmethod
    def of_this_process(cls) -> Supervisor:
        return cls(inherited_environment())

    def ready(self) -> None:
        """The node is up. The watchdog begins here, as it does in the manager."""
        self._is_up = True
        self._tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=up")
        if self._beat_s is not None and self._beating is None:
            self._beat()

    def reloading(self) -> None:
        """`reloaded` must follow. A node that is not up yet has nothing to tell: the READY=1 after it would be a lie."""
        if self._is_up:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        if self._is_up:
            self._tell("READY=1")

    def stopping(self) -> None:
        """The watchdog goes on: a drain may hang as anything else may."""
        self._is_up = False
        self._tell("STOPPING=1", "STATUS=draining")

    def end(self) -> None:
        if self._beating is not None:
            self._beating.cancel()

    def _beat(self) -> None:
        assert self._beat_s is not None
        self._tell("WATCHDOG=1")
        self._beating = asyncio.get_running_loop().call_later(self._beat_s, self._beat)

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)  # a manager that does not read must not stop the loop
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                pass


def _address(text: str) -> str | None:
    """A path, or an abstract name, which begins with @ in the variable and with a zero byte on the socket."""
    if text.startswith("/"):
        return text
    return "\0" + text[1:] if text.startswith("@") and len(text) > 1 else None


def _beat_s(environment: Mapping[str, str]) -> float | None:
    """None: no watchdog, or one that watches another process."""
    limit_us, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or pid not in ("", str(os.getpid())):
        return None
    return max(int(limit_us) / 1e6 / BEATS_PER_LIMIT, BEAT_MIN_S)
