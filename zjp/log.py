"""Log lines on stdlib logging: a constant event plus fields, as JSON or for people.

    _log = logging.getLogger(__name__)
    event(_log, logging.WARNING, "worker lost", worker=3, pid=4711)

    {"at": "2030-01-31T12:00:00.123Z", "level": "warning", "logger": "zjp.worker.pool", "event": "worker lost", "worker": 3, ...}
    12:00:00.123 WARNING zjp.worker.pool: worker lost worker=3 pid=4711

Because the event's text is constant, lines can be counted and repeats can be told: of one event of one logger the first
`REPEATS_MAX` in `REPEATS_WINDOW_S` are written, the next one after that says how many were left out. Plain calls (`_log.info(...)`,
the tasks' own logs) are never left out; their `extra={...}` becomes fields too. What somebody asked for (`answer`) is always written.

What comes from outside may hold line breaks or terminal controls: everything unprintable is escaped, and further lines (of a
traceback) are indented, so no value can pass for a line of its own. Fields with the name of a secret, and passwords inside URLs,
are masked; payloads and results are never to be logged.

Everything goes to stderr: stdout belongs to the commands' output.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

REPEATS_MAX = 20
REPEATS_WINDOW_S = 10.0
REPEATED_EVENTS_MAX = 1000
"""Distinct events that are watched for repeats; beyond it the watch begins anew rather than growing."""
TEXT_MAX = 4000
"""Characters of one value."""
LINES_MAX = 200
"""Lines of one traceback."""
ITEMS_MAX = 100
"""Items of one list or map."""

_SECRET = re.compile(r"passw|secret|token|credential|authorization|private|api_?key|curve_?key|payload", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]{1,500}(?=@)")
_URL_OPTION = re.compile(r"([?&][^=&\s]{0,100}passw[^=&\s]{0,100}=)[^&\s]{1,500}", re.IGNORECASE)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "fields", "is_asked_for"}


def event(logger: logging.Logger, level: int, name: str, /, **fields: Any) -> None:
    """Write one event. `name` is constant text; whatever differs from time to time is a field."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": fields}, stacklevel=2)


def answer(logger: logging.Logger, name: str, /, **fields: Any) -> None:
    """Write one event that somebody asked for just now: whatever the level is, and however often."""
    extra = {"fields": fields, "is_asked_for": True}
    logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, name, (), None, extra=extra))


def configure(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Send this process's logs to stderr. May be called again: the last call counts.

    `level`, `format`: as in LOG_LEVEL and LOG_FORMAT.
    """
    target = stream or sys.stderr
    if format == "auto":
        format = "console" if target.isatty() else "json"
    handler = _Handler(target)
    handler.setFormatter(ConsoleFormatter() if format == "console" else JsonFormatter())
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    # In one step: other threads may be logging, and between a removal and an addition their lines would be lost.
    root.handlers = [*(other for other in root.handlers if not isinstance(other, _Handler)), handler]
    root.setLevel(level.upper())


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that `configure` replaces it and leaves the handlers of others alone."""


class RepeatFilter(logging.Filter):
    """Leaves out an event that repeats too often; time is the records' own."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, "fields", None)
        if fields is None or hasattr(record, "is_asked_for"):
            return True
        key = (record.name, record.levelno, record.msg)
        since, count = self._seen.get(key, (record.created, 0))
        if 0 <= record.created - since < REPEATS_WINDOW_S:
            self._remember(key, since, count + 1)
            return count < REPEATS_MAX
        self._remember(key, record.created, 1)
        if count > REPEATS_MAX:
            record.fields = {**fields, "left_out": count - REPEATS_MAX}
        return True

    def _remember(self, key: tuple[str, int, str], since: float, count: int) -> None:
        if key not in self._seen and len(self._seen) >= REPEATED_EVENTS_MAX:
            self._seen.clear()
        self._seen[key] = (since, count)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name, "event": _event(record)}
        for name, value in _fields(record).items():
            line[f"{name}_" if name in line else name] = value
        lines = _traceback(self, record)
        if lines:
            line["traceback"] = lines
        return msgspec.json.encode(line).decode()


class ConsoleFormatter(logging.Formatter):
    """One line for people, tracebacks indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        parts = [f"{at} {record.levelname} {record.name}: {_event(record)}"]
        parts += [f"{name}={_shown(value)}" for name, value in _fields(record).items()]
        return "\n    ".join([" ".join(parts), *_traceback(self, record)])


def _event(record: logging.LogRecord) -> str:
    return _clean(record.msg if hasattr(record, "fields") else record.getMessage())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The event's fields and whatever else was given as `extra`, fit to be written."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return _map({**extra, **getattr(record, "fields", {})})


def _map(fields: dict[Any, Any]) -> dict[str, Any]:
    items = [(str(name), value) for name, value in list(fields.items())[:ITEMS_MAX]]
    return {_clean(name): "***" if _SECRET.search(name) else _plain(value) for name, value in items}


def _plain(value: Any) -> Any:
    """The value as something JSON knows, every text in it escaped."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else _clean(str(value))
    if isinstance(value, dict):
        return _map(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in list(value)[:ITEMS_MAX]]
    return _clean(value.hex() if isinstance(value, bytes) else str(value))


def _shown(value: Any) -> str:
    """A field's value on the console: quoted when it has spaces or could be taken for another field."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text) if isinstance(value, str) and (not text or re.search(r"[\s=\"']", text)) else text


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    texts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    if record.stack_info:
        texts.append(record.stack_info)
    return [_clean(line) for text in texts for line in text.splitlines()][-LINES_MAX:]


def _clean(text: str) -> str:
    """Without control characters and URL passwords, and not too long."""
    cut = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text)} characters)"
    masked = _URL_OPTION.sub(r"\1***", _URL_LOGIN.sub("***", cut)) if "://" in cut else cut
    if masked.isprintable():
        return masked
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in masked)
