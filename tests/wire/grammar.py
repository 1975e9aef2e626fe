"""The tables of docs/wire.md, made from the messages themselves. `python -m tests.wire.grammar` writes them into the page (`make docs`).

The prose is written by hand; between `<!-- name -->` and `<!-- end -->` stands what is made here, and a test compares it.
"""

from __future__ import annotations

import enum
import functools
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from tests.wire.build import UNIONS
from zjp import errors, job, schedule
from zjp.node import intake
from zjp.wire import codec, desk, messages, seen

PAGE = Path(__file__).parent.parent.parent / "docs" / "wire.md"

SHAPES: dict[type, str] = {
    job.JobSpec: "Job",
    job.Options: "Options",
    job.JobFilter: "Filter",
    job.JobView: "View",
    job.Attempt: "Attempt",
    job.JobFault: "Fault",
    schedule.Schedule: "Schedule",
    schedule.ScheduleChange: "ScheduleChange",
    messages.Submitted: "Submitted",
    messages.QueueCount: "QueueCount",
    seen.ClusterNode: "ClusterNode",
    seen.Change: "Change",
    desk.User: "User",
    desk.SeenEvent: "Event",
    desk.FailureGroup: "FailureGroup",
    desk.Happening: "Happening",
    messages.Envelope: "Envelope",
}
"""What clients meet inside messages; the worker's side names its own classes."""
LEAVES: dict[type, str] = {
    int: "int",
    str: "text",
    bytes: "bin",
    bool: "bool",
    float: "float",
    types.NoneType: "nil",
    job.JobState: "State",
}
LIMITS = (
    ("frames of a message between client and node", 2, ""),
    ("envelope", codec.ENVELOPE_BYTES_MAX, "bytes"),
    ("body", messages.MESSAGE_BYTES_MAX, "bytes"),
    ("jobs in one Submit", job.BATCH_MAX, ""),
    ("ids in one request", messages.IDS_MAX, ""),
    ("jobs in one Page", messages.LIST_LIMIT_MAX, ""),
    ("payloads, results and errors in one Jobs or Page, unless the first job alone has more", messages.REPLY_BYTES_MAX, "bytes"),
    ("type", job.TYPE_CHARS_MAX, "characters, printable, no space"),
    ("queue", job.QUEUE_CHARS_MAX, "characters, printable, no space, no comma; neither `*` nor ending in `:` and a number"),
    ("tags of one job", job.TAGS_MAX, ""),
    ("tag", job.TAG_CHARS_MAX, "characters, printable, no space"),
    ("unique_key, idempotency_key", job.UNIQUE_KEY_CHARS_MAX, "characters"),
    ("traceparent, tracestate", job.TRACE_CHARS_MAX, "characters"),
    ("schedules", schedule.SCHEDULES_MAX, ""),
    ("name of a schedule", schedule.NAME_CHARS_MAX, "characters, printable, no space"),
    ("payload of a schedule", schedule.PAYLOAD_BYTES_MAX, "bytes"),
    ("requests under way at one node", intake.REQUESTS_MAX, f"and {intake.REQUEST_BYTES_MAX} bytes; then `unavailable`"),
    ("of them Wait and AskFeed", intake.WAITS_MAX, ""),
    ("payload of one job", job.Limits().payload_bytes_max, "bytes; the setting MAX_PAYLOAD"),
)


def shown(wanted: Any) -> str:
    """A type in the page's notation: `[bin] 1..1000`, `Options?`."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return f"{shown(args[0])}{_range(args[1])}"
    if origin in (Union, types.UnionType):
        return f"{shown(args[0])}?"
    if origin is dict:
        return f"{{{shown(args[0])}: {shown(args[1])}}}"
    if origin is tuple and args[-1] is not Ellipsis:
        return f"[{', '.join(shown(arg) for arg in args)}]"
    if origin is not None:
        return f"[{shown(args[0])}]"
    if wanted in LEAVES:
        return LEAVES[wanted]
    if issubclass(wanted, enum.Enum):
        return _words(wanted)
    return SHAPES.get(wanted) or str(wanted.__name__)


def _words(wanted: type[enum.Enum]) -> str:
    return " or ".join(f'"{member.value}"' for member in wanted)


def _range(limits: msgspec.Meta) -> str:
    if limits.max_length is None:
        return ""
    return f" {limits.min_length or 0}..{limits.max_length}"


def fields(shape: type[msgspec.Struct]) -> list[str]:
    hints = get_type_hints(shape, include_extras=True)
    return [f"{field.name} {shown(hints[field.name])}{_default(field)}" for field in msgspec.structs.fields(shape)]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return " = []" if isinstance(value, (list, tuple)) else f" = {_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bytes):
        return "packed nil" if value == b"\xc0" else "empty"
    if isinstance(value, str):
        return f'"{value}"'
    return "nil" if value is None else str(value).lower()


def said(cls: type) -> str:
    """The docstring in one line; a class without one inherits none from msgspec."""
    text = cls.__dict__.get("__doc__")
    return re.sub(r"\s+", " ", inspect.cleandoc(text)) if text else ""


def table_of(way: str) -> Iterator[str]:
    yield "| tag | message | after the tag | meaning |"
    yield "|---|---|---|---|"
    for cls in get_args(UNIONS[way]):
        positions = ", ".join(f"`{field}`" for field in fields(cls)) or "nothing"
        yield f"| {cls.__struct_config__.tag} | {cls.__name__} | {positions.replace('|', '&#124;')} | {said(cls)} |"


def shapes() -> Iterator[str]:
    yield "```"
    for cls, name in SHAPES.items():
        is_array = cls.__struct_config__.array_like  # type: ignore[attr-defined]
        begin, end = "[]" if is_array else "{}"
        yield from _wrapped(f"{name} = {begin}", fields(cls), end)
    yield f"State = {_words(job.JobState)}"
    yield "```"


def _wrapped(head: str, parts: list[str], end: str) -> Iterator[str]:
    line = head
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        piece = part + (end if last else ", ")
        if len(line) + len(piece) > 118:
            yield line.rstrip()
            line = " " * len(head)
        line += piece
    yield line


def limits() -> Iterator[str]:
    yield "| what | at most |"
    yield "|---|---|"
    for what, count, unit in LIMITS:
        yield f"| {what} | {count} {unit}".rstrip() + " |"


def codes() -> Iterator[str]:
    """Those that a node sends; the meaning stands in the tree of errors.py."""
    yield "| code | meaning | ask again? |"
    yield "|---|---|---|"
    meanings = dict(re.findall(r"[├└]── (\w+) {2,}(.+)", errors.__doc__ or ""))
    for code, cls in errors.BY_CODE.items():
        if (
            issubclass(cls, (errors.WireError, errors.JobRejected, errors.Unavailable, errors.OutcomeUnknown))
            and cls is not errors.NodeUnreachable
        ):
            yield f"| `{code}` | {meanings[cls.__name__]} | {'yes' if cls.retryable else 'no'} |"


def roles() -> Iterator[str]:
    for role in messages.Role:
        able = [cls.__name__ for cls, least in messages.LEAST_ROLE.items() if least is role]
        yield f"- {role.name.lower()}: {', '.join(able)}"


PARTS = {
    "limits": limits,
    "shapes": shapes,
    "codes": codes,
    "roles": roles,
    **{way: functools.partial(table_of, way) for way in UNIONS},
}


def filled(page: str) -> str:
    """The page with every made part made again."""

    def made(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n" + "\n".join(PARTS[match[1]]()) + "\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", made, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
