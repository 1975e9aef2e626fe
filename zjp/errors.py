"""Every error zjp raises, in one tree.

::

    ZjpError
    ├── ConfigError            a setting is wrong; nothing was started
    ├── WireError              a peer sent bytes that are no message
    ├── JobRejected            the caller asked for something that cannot be; asking again gives the same answer
    │   ├── InvalidJob         a field is missing, unknown or out of range
    │   ├── PayloadTooLarge    payload, message or batch over its limit
    │   ├── JobConflict        the id exists with other content
    │   ├── NotFound           no such job or queue
    │   ├── WrongState         the job is not in a state that allows it
    │   └── NotAllowed         the role is too low
    ├── Unavailable            the world is in the way; asking again may succeed
    │   ├── StoreUnavailable   the queue's or the records' store does not answer
    │   ├── StoreFull          disk, memory or outbox is at its limit
    │   ├── NodeUnreachable    no node answered at any of the addresses
    │   └── Draining           the node is going away and takes no more jobs
    ├── OutcomeUnknown         it was asked and not answered; the deed may or may not have happened
    └── JobError               how a job ended, raised by `.result`
        ├── JobFailed
        └── JobCancelled

A peer's fault (`WireError`), the caller's (`JobRejected`), the world's (`Unavailable`) and our own bug (`AssertionError`) are
four different things and are never turned into one another.

Each class has a stable `code` (what travels on the wire and in problem documents), `retryable` (whether the same request may
succeed later), `http_status` and `exit_code` (sysexits.h).
"""

from __future__ import annotations

from typing import ClassVar


class ZjpError(Exception):
    """Root of the tree. Never raised itself."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class ConfigError(ZjpError):
    """One message that lists every bad setting."""

    code = "config"
    exit_code = 78


class WireError(ZjpError):
    """Bytes that are no message of this protocol. The sender's fault; the receiver drops and counts them."""

    code = "wire"
    http_status = 400


class JobRejected(ZjpError):
    """The request cannot be carried out, now or later. Nothing of it was stored."""

    code = "rejected"
    http_status = 422


class InvalidJob(JobRejected):
    code = "invalid"


class PayloadTooLarge(JobRejected):
    code = "too-large"
    http_status = 413


class JobConflict(JobRejected):
    code = "conflict"
    http_status = 409


class NotFound(JobRejected):
    code = "not-found"
    http_status = 404


class WrongState(JobRejected):
    code = "wrong-state"
    http_status = 409


class NotAllowed(JobRejected):
    code = "not-allowed"
    http_status = 403
    exit_code = 77


class Unavailable(ZjpError):
    """Nothing of the request was stored; the same request may succeed later."""

    code = "unavailable"
    retryable = True
    http_status = 503
    exit_code = 69


class StoreUnavailable(Unavailable):
    code = "store-unavailable"


class StoreFull(Unavailable):
    code = "store-full"
    http_status = 507


class NodeUnreachable(Unavailable):
    code = "unreachable"


class Draining(Unavailable):
    code = "draining"


class OutcomeUnknown(ZjpError, TimeoutError):
    """The deadline passed first, or the store gave the node no answer. Repeat with the same id: a repeat of a stored job is recognised.
    Only before another retry by hand look which run the job is in."""

    code = "outcome-unknown"
    retryable = True
    http_status = 504
    exit_code = 69


class JobError(ZjpError):
    """How a job ended, when it did not end well."""

    code = "job-error"


class JobFailed(JobError):
    """The job is `failed`.

    `error_type` is the exception's class name in the worker, `traceback` its text there (empty when there was none).
    """

    code = "job-failed"

    def __init__(self, error_type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{error_type}: {message}" if message else error_type)
        self.error_type = error_type
        self.message = message
        self.traceback = traceback


class JobCancelled(JobError):
    code = "job-cancelled"


def _concrete(root: type[ZjpError]) -> dict[str, type[ZjpError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_concrete(child))
    return found


BY_CODE: dict[str, type[ZjpError]] = _concrete(ZjpError)
"""code -> class, so that an error that crossed the wire is raised as what it was."""
