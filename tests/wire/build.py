"""Any value of a message's type, from its annotations alone: so a new message or field is covered the day it is written.

`build(type, choices)` walks the annotation and asks `choices` for each leaf. Two kinds of choices: hypothesis draws (property tests, which
shrink) and a seeded generator (the fuzz corpus, which must be fast and repeatable).
"""

from __future__ import annotations

import enum
import random
import types
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zjp.job import Record, StoredJob
from zjp.wire import messages

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with everything else; how long one example takes says nothing here."""

INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1
"""What msgpack can say."""
SIGNS = "aZ0._-: é漢😀\x00\n"


class Choices(Protocol):
    def integer(self, low: int, high: int) -> int: ...
    def real(self) -> float: ...
    def text(self) -> str: ...
    def blob(self) -> bytes: ...


class Drawn:
    """Choices of hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def real(self) -> float:
        return self._draw(st.floats(allow_nan=False))

    def text(self) -> str:
        return self._draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))

    def blob(self) -> bytes:
        return self._draw(st.binary(max_size=20))


class Seeded:
    """Choices of a generator; numbers lie at their bounds and around zero more often than chance would have it."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    def integer(self, low: int, high: int) -> int:
        edges = [edge for edge in (low, high, 0, 1, -1, 127, 128, 1 << 31, 1 << 32) if low <= edge <= high]
        return self._random.choice(edges) if self._random.random() < 0.4 else self._random.randint(low, high)

    def real(self) -> float:
        return self._random.choice([0.0, -0.0, 1.5, float("inf"), 1e308, self._random.random()])

    def text(self) -> str:
        return "".join(self._random.choices(SIGNS, k=self._random.choice([0, 1, 5, 40])))

    def blob(self) -> bytes:
        return self._random.randbytes(self._random.choice([0, 1, 16, 16, 300]))


def build(wanted: Any, choices: Choices, limits: msgspec.Meta | None = None) -> Any:
    origin = get_origin(wanted)
    if origin is Annotated:
        inner, limits = get_args(wanted)
        return build(inner, choices, limits)
    if origin in (Union, types.UnionType):
        options = get_args(wanted)
        return build(options[choices.integer(0, len(options) - 1)], choices)
    if origin is not None:
        return _container(origin, get_args(wanted), choices, limits)
    if issubclass(wanted, msgspec.Struct):
        return _struct(wanted, choices)
    if issubclass(wanted, enum.Enum):
        members = list(wanted)
        return members[choices.integer(0, len(members) - 1)]
    return _leaf(wanted, choices, limits)


def _struct(wanted: type[msgspec.Struct], choices: Choices) -> msgspec.Struct:
    hints = get_type_hints(wanted, include_extras=True)
    return wanted(**{field.name: build(hints[field.name], choices) for field in msgspec.structs.fields(wanted)})


def _container(origin: Any, args: tuple[Any, ...], choices: Choices, limits: msgspec.Meta | None) -> Any:
    if origin is tuple and args[-1] is not Ellipsis:
        return tuple(build(arg, choices) for arg in args)
    least = (limits.min_length if limits else None) or 0
    count = choices.integer(least, least + 3)
    if origin is dict:
        return {build(args[0], choices): build(args[1], choices) for _ in range(count)}
    return origin(build(args[0], choices) for _ in range(count))


def _leaf(wanted: Any, choices: Choices, limits: msgspec.Meta | None) -> Any:
    if wanted is bool:
        return choices.integer(0, 1) == 1
    if wanted is int:
        return choices.integer(INT_MIN, INT_MAX if limits is None or limits.le is None else int(limits.le))
    if wanted is types.NoneType:
        return None
    made = {float: choices.real, str: choices.text, bytes: choices.blob}[wanted]()
    return made if made or limits is None or not limits.min_length else "a" * limits.min_length


UNIONS: dict[str, Any] = {
    "request": messages.Request,
    "reply": messages.Reply,
    "to_worker": messages.ToWorker,
    "from_worker": messages.FromWorker,
}
CLASSES: tuple[type[msgspec.Struct], ...] = tuple(cls for union in UNIONS.values() for cls in get_args(union))
STORED: tuple[type[msgspec.Struct], ...] = (StoredJob, Record)
"""What stores keep in the same format."""


def drawn(wanted: Any) -> st.SearchStrategy[Any]:
    @st.composite
    def strategy(draw: st.DrawFn) -> Any:
        return build(wanted, Drawn(draw))

    return strategy()
