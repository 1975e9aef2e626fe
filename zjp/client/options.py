"""What may be said about a job when it is submitted, and how that becomes a JobSpec.

`SubmitOptions` is what type checkers see, `OPTION_NAMES` what is checked when the program runs; unknown names are refused with the nearest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypedDict

from ..errors import InvalidJob
from ..job import UNIQUE_KEY_CHARS_MAX, JobSpec, Limits, Options, check_spec, parse_id
from ..task import refuse_unknown
from ..units import parse_duration_s
from .packing import PAYLOAD_BYTES_MAX

Duration: TypeAlias = "float | str | timedelta"
"""Seconds, text such as "5m", or a timedelta."""
Moment: TypeAlias = "float | str | datetime"
"""Unix seconds, ISO 8601 text, or a datetime. Without a zone: UTC in text, local time in a datetime, as each is usually meant."""
Id: TypeAlias = "str | bytes | uuid.UUID"


class SubmitOptions(TypedDict, total=False):
    """All optional. `eta` is `run_at` and `countdown` is `delay`, for those who come from elsewhere."""

    id: Id | None
    """Made by the caller: makes a repeat of the submit safe, also from another process. A UUID."""
    queue: str
    priority: int
    """1 (low) to 10 (high); 5 is normal."""
    delay: Duration | None
    countdown: Duration | None
    run_at: Moment | None
    eta: Moment | None
    max_retries: int | None
    timeout: Duration | None
    """Hard limit of one attempt."""
    soft_timeout: Duration | None
    unique_key: str | None
    """While a job with this key is not finished, another submit gives that job. 1 to 256 characters."""
    tags: Iterable[str]
    idempotency_key: str | None
    """A repeat with the same key makes one job, also after it has finished (for a day)."""
    deadline: Duration | None
    """How long the submit itself may take, CALL_S_MIN to SUBMIT_S_MAX; the client's `timeout` when not given."""


OPTION_NAMES = tuple(SubmitOptions.__annotations__)
CALL_S_MIN = 0.001
"""With less time nothing can be asked, and the caller would be told that no node answers."""
SUBMIT_S_MAX = 600.0
"""The nodes' DEDUP_WINDOW unless they set another: a submit is repeated until its deadline, and a repeat is recognised only for so long. A
client cannot ask for the window first (the node that answers need not be the one that is asked then), so it keeps to the default."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job for `submit_many`. `options`: as for `submit`, without `deadline`."""

    type: str
    payload: Mapping[str, Any] | None = None
    options: SubmitOptions | None = None


Submittable: TypeAlias = "JobRequest | tuple[str, Mapping[str, Any] | None] | Mapping[str, Any]"

_LIMITS = Limits(payload_bytes_max=PAYLOAD_BYTES_MAX)
_CHECKED_TYPES_MAX = 10_000
checked_types: set[str] = set()
"""Job types that were found right, so that the usual job is looked at once."""


def request_of(given: Submittable) -> JobRequest:
    """A pair, a mapping with `type`, `payload` and options side by side, or a JobRequest. Raises: InvalidJob."""
    if isinstance(given, JobRequest):
        return given
    if isinstance(given, Mapping):
        options: dict[str, Any] = dict(given)
        if "type" not in options:
            raise InvalidJob('a job has no "type"; give at least {"type": ..., "payload": {...}}')
        return JobRequest(options.pop("type"), options.pop("payload", None), options)  # type: ignore[arg-type]
    if type(given) not in (tuple, list) or len(given) != 2:
        raise InvalidJob(f"{given!r:.200} is not a job; give (type, payload), a dict with both, or a JobRequest")
    return JobRequest(*given)


def make_spec(made_id: bytes, type: str, payload: bytes, options: Mapping[str, Any] | None) -> JobSpec:
    """`made_id` is used unless the caller gave one. Raises: TypeError (unknown option), InvalidJob, PayloadTooLarge."""
    if not options:
        spec = JobSpec(made_id, typed("type", type, str), payload)
        if type not in checked_types:
            check_spec(spec, _LIMITS)
            if len(checked_types) < _CHECKED_TYPES_MAX:
                checked_types.add(type)
        return spec
    refuse_unknown("option", options, OPTION_NAMES)
    given = {name: value for name, value in options.items() if value is not None}
    own_id = given.get("id")
    spec = JobSpec(
        made_id if own_id is None else id_bytes(own_id),
        typed("type", type, str),
        payload,
        typed("queue", given.get("queue", "default"), str),
        int(typed("priority", given.get("priority", 5), int)),
        _rare(given, caller_id=own_id is not None),
    )
    check_spec(spec, _LIMITS)
    return spec


def _rare(given: Mapping[str, Any], *, caller_id: bool) -> Options | None:
    delay = _one_of(given, "delay", "countdown")
    run_at = _one_of(given, "run_at", "eta")
    options = Options(
        delay_ms=0 if delay is None else duration_ms("delay", delay),
        run_at_ms=0 if run_at is None else moment_ms("run_at", run_at),
        max_retries=typed("max_retries", given["max_retries"], int) if "max_retries" in given else None,
        timeout_ms=_optional_ms("timeout", given),
        soft_timeout_ms=_optional_ms("soft_timeout", given),
        unique_key=_key("unique_key", given),
        tags=tags_of(given.get("tags", ())),
        idempotency_key=_key("idempotency_key", given),
        caller_id=caller_id,
    )
    return None if options == _NOTHING else options


_NOTHING = Options()


def _key(name: str, given: Mapping[str, Any]) -> str:
    """Empty when it was not given. Given and empty is a variable that nobody filled, whose jobs would all run: it is refused."""
    if name not in given:
        return ""
    if not (key := typed(name, given[name], str)):
        raise InvalidJob(f"{name} is empty, it must have 1 to {UNIQUE_KEY_CHARS_MAX} characters; leave it out (None) for none")
    return str.__str__(key)  # of a text that is an Enum's member as well str() would give the member's name


def _one_of(given: Mapping[str, Any], name: str, alias: str) -> Any:
    if name in given and alias in given:
        raise InvalidJob(f"{name} and {alias} are both set and mean the same; give one of them")
    return given.get(name, given.get(alias))


def tags_of(tags: Any) -> tuple[str, ...]:
    """Raises: InvalidJob."""
    if isinstance(tags, str):
        raise InvalidJob(f"tags is the text {tags!r}; give a list, as in tags=[{tags!r}]")
    if not isinstance(tags, Iterable):
        raise InvalidJob(f"tags is {tags!r:.200} of type {type(tags).__name__}; give a list, as in tags=['nightly']")
    return tuple(typed("tag", tag, str) for tag in tags)


def typed(what: str, value: Any, kind: type) -> Any:
    """Raises: InvalidJob. A bool is no number here."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidJob(f"{what} is {value!r:.200} of type {type(value).__name__}, it must be {kind.__name__}")
    return value


def _optional_ms(name: str, given: Mapping[str, Any]) -> int | None:
    return duration_ms(name, given[name]) if name in given else None


def duration_ms(what: str, value: Duration) -> int:
    return round(duration_s(what, value) * 1000)


def duration_s(what: str, value: Duration) -> float:
    """Raises: InvalidJob."""
    try:
        return parse_duration_s(value.total_seconds() if isinstance(value, timedelta) else value)
    except ValueError as fault:
        raise InvalidJob(f"{what}: {fault}") from None


def call_s(what: str, value: Duration) -> float:
    """How long a call may take. Raises: InvalidJob."""
    within_s = duration_s(what, value)
    if within_s < CALL_S_MIN:
        raise InvalidJob(
            f"{what} is {within_s:g} s, the least is {CALL_S_MIN:g} s (1ms), as nothing can be asked and answered in less; leave it out "
            "for the default"
        )
    return within_s


def submit_s(what: str, value: Duration) -> float:
    """How long a submit may take and be repeated. Raises: InvalidJob."""
    within_s = call_s(what, value)
    if within_s > SUBMIT_S_MAX:
        raise InvalidJob(
            f"{what} is {within_s:g} s, the limit is {SUBMIT_S_MAX:g} s: for so long (DEDUP_WINDOW) a node recognises a repeated submit; "
            "give less, and after it submit again with an id or idempotency_key of your own, which is recognised for a day"
        )
    return within_s


def moment_ms(what: str, value: Moment) -> int:
    """Unix ms. Raises: InvalidJob."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
            if value.tzinfo is None:
                value = value.replace(tzinfo=UTC)
        seconds = value.timestamp() if isinstance(value, datetime) else float(value)
        return max(1, round(seconds * 1000))
    except (ValueError, TypeError, OverflowError):
        raise InvalidJob(
            f"{what} is {value!r}, it must be Unix seconds, a datetime, or ISO 8601 text such as 2030-01-31T12:00:00Z"
        ) from None


def id_bytes(given: Id) -> bytes:
    """Raises: InvalidJob."""
    if isinstance(given, bytes):
        if len(given) != 16:
            raise InvalidJob(f"job id is {len(given)} bytes, it must be 16, or the text of a UUID")
        return given
    if isinstance(given, uuid.UUID):
        return given.bytes
    if not isinstance(given, str):
        raise InvalidJob(
            f"job id is a {type(given).__name__}, it must be the text of a UUID; for other keys use idempotency_key"
        )
    return parse_id(given)
