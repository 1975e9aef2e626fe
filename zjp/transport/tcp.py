"""What is asked of TCP itself, past ZeroMQ, where the system has it.

What a node says to another is a thin stream: a small message every few hundred milliseconds, and an election waits for each. TCP is made
for bulk: it sends a lost packet again after 200 ms at the earliest, and doubles the pause with every further loss, up to two minutes. So
at a quarter of the packets lost a peer was silent for 10 to 40 s at a time though most of what is sent would arrive; with these options
for 2 to 6 s. They are set on each connection that a line makes, as what a node says leaves by its own lines only.

    TCP_THIN_LINEAR_TIMEOUTS   pauses do not double while fewer than four packets are under way    since Linux 2.6.34
    TCP_RTO_MIN_US             the least pause beyond the round trip                               recent ones only
    TCP_RTO_MAX_MS             the longest pause; a second is the least that may be asked for      recent ones only
"""

from __future__ import annotations

import contextlib
import os
import socket

THIN_LINEAR_TIMEOUTS, RTO_MAX_MS, RTO_MIN_US = 16, 44, 45
"""As in Linux's include/uapi/linux/tcp.h; Python's socket module does not name them all."""
OPTIONS = ((THIN_LINEAR_TIMEOUTS, 1), (RTO_MIN_US, 50_000), (RTO_MAX_MS, 1_000))


def resend_soon(file: int) -> None:
    """For ZeroMQ's own descriptor of a connection. What the system does not have is left as it is; so is a connection that is no TCP,
    or that is gone. By now the descriptor may belong to another connection of this process: that does no harm there."""
    connection = opened(file)
    if connection is None:
        return
    with connection:
        for option, value in OPTIONS:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def opened(file: int) -> socket.socket | None:
    """A second descriptor of that socket, to be closed by whoever asks. None: it is none, or is gone."""
    try:
        copy = os.dup(file)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:  # no socket at all
        os.close(copy)
        return None
