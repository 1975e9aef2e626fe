"""Reading the settings: flags, environment and file into one frozen `Settings`, or one `ConfigError` with all that is wrong.

Highest first: a command-line flag, `ZJP_<NAME>` in the environment, `<NAME>` in the environment, the file (`--config FILE`,
else `zjp.toml` in the current folder when there is one), the default. A secret may also be given as `<NAME>_FILE` wherever
`<NAME>` may: the file's content without its last line break is the value. Empty text counts as not set, so that
`REDIS_ADDR: ${REDIS_ADDR:-}` in a compose file means what it looks like.

This is the only place that reads the environment. Only known names are looked at, except that names beginning with `ZJP_`
must all be known: a misspelt setting would otherwise be ignored in silence. `ZJP_PORT*` and `ZJP_SERVICE_*` are what
Kubernetes sets by itself beside a service called zjp, and are skipped.

Order of work: gather (name -> text and origin), parse each, refuse what is not in this version, then the rules that join
several settings (`zjp.config.rules`). Each step adds to one list of problems; nothing is raised before the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zjp.config.rules import broken_rules
from zjp.config.serving import broken_serving_rules
from zjp.config.table import DERIVED, TABLE, Setting, Settings
from zjp.errors import ConfigError

PREFIX = "ZJP_"
IGNORED_PREFIXES = ("ZJP_PORT", "ZJP_SERVICE_")
"""Kubernetes sets these beside a service called zjp."""
TRACING_PREFIX = "OTEL_"
"""Bare OTEL_* names in the environment are the OpenTelemetry SDK's; with our prefix, or in the file, nobody reads them."""
DEFAULT_FILE = Path("zjp.toml")
FILE_MAX_BYTES = 1024 * 1024
"""Settings and secrets are small; this keeps a wrong path (a device, a log) from filling memory."""
NOT_AVAILABLE = "not available in this version"
SHOWN_MAX = 200
"""Characters of a bad value that an error shows."""
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, per NAME, where each came from."""

    settings: Settings
    origins: Mapping[str, str]


class _Given(NamedTuple):
    """One setting as somebody gave it, before parsing."""

    text: str
    origin: str


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
    *,
    serves: bool = False,
) -> Loaded:
    """All settings of this process. `flags`: NAME (any case, `-` or `_`) -> text, only what was given. `serves`: it serves the HTTP API, or
    starts one that does, and is held to the rules of that too.

    Raises: ConfigError that lists every bad setting.
    """
    problems: list[str] = []
    given: dict[str, _Given] = {}
    for source in (
        _from_file(config_file, problems),
        *_from_environment(os.environ if environ is None else environ, problems),
        _from_flags(flags, problems),
    ):
        given |= source  # later sources win
    values = _parse_all(given, problems)
    origins = {name: given[name].origin if name in values else DEFAULT for name in TABLE}
    settings = Settings(**{TABLE[name].field: value for name, value in values.items()})
    cleaned = {name: _clean(origin) for name, origin in origins.items()}
    broken = [*broken_rules(settings, cleaned), *(broken_serving_rules(settings, cleaned) if serves else ())]
    told = set(map(_subject, problems))
    problems += [rule for rule in broken if rule and _subject(rule) not in told]
    if problems:
        raise ConfigError(_message(problems))
    return Loaded(settings, origins)


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """(NAME, value with secrets masked, origin) of every setting, in the order of the table."""
    return [(name, _shown(setting, loaded.settings), loaded.origins[name]) for name, setting in TABLE.items()]


def inherited_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process that runs the users' code: all of it but our secrets, in every spelling."""
    names = {name for name, setting in TABLE.items() if setting.secret}
    secret = {f"{prefix}{name}{suffix}" for name in names for prefix in ("", PREFIX) for suffix in ("", "_FILE")}
    return {key: text for key, text in (os.environ if environ is None else environ).items() if key not in secret}


def _shown(setting: Setting, settings: Settings) -> str:
    value = getattr(settings, setting.field)
    if value is None and setting.name in DERIVED:
        value = DERIVED[setting.name](settings)
    if setting.name == "ELECTION_INTERVAL" and settings.is_interval_lowered:
        return f"{setting.show(value)}, lowered to {setting.show(settings.election_times_s[1])}"
    return setting.show(value)


# Gathering. Each source answers with what it gives, by NAME; `_FILE` is resolved inside the source it came from.


def _from_flags(flags: Mapping[str, str], problems: list[str]) -> dict[str, _Given]:
    given = {}
    for key, text in flags.items():
        name = key.replace("-", "_").upper()
        given[name] = _Given(text, f"flag --{name.lower().replace('_', '-')}")
    return _known(given, problems)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> tuple[dict[str, _Given], dict[str, _Given]]:
    """Bare names first, then the prefixed ones that win over them."""
    bare, prefixed = {}, {}
    for key, text in environ.items():
        if key.startswith(PREFIX):
            if not key.startswith(IGNORED_PREFIXES):
                prefixed[key.removeprefix(PREFIX)] = _Given(text, f"environment {key}")
        elif key in _NAMES:
            bare[key] = _Given(text, f"environment {key}")
    return _known(bare, problems), _known(prefixed, problems, prefix=PREFIX)


def _from_file(config_file: Path | None, problems: list[str]) -> dict[str, _Given]:
    path = config_file or DEFAULT_FILE
    if config_file is None and not path.is_file():
        return {}
    import tomllib  # here, as most starts have no file and need not pay for it

    try:
        document = tomllib.loads(_read_small(path))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        problems.append(f"{path}: cannot be read as TOML: {error}")
        return {}
    given = {}
    for key, value in document.items():
        name = key.replace("-", "_").upper()
        if name in given:
            problems.append(f"{key}: given twice in {path}")
        try:
            given[name] = _Given(_text_of_toml(value), str(path))
        except ValueError as error:
            problems.append(f"{key}: {error} (set by {path})")
    return _known(given, problems)


def _text_of_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    raise ValueError(f"a {type(value).__name__} is not a value; give text, a number, true, false or a list of texts")


_NAMES = frozenset(TABLE) | {f"{name}_FILE" for name, setting in TABLE.items() if setting.secret}
"""Every name a source may give."""


def _known(given: Mapping[str, _Given], problems: list[str], prefix: str = "") -> dict[str, _Given]:
    """Without empty values; unknown names become problems; secrets are read from their files."""
    known = {}
    for name, (text, origin) in given.items():
        if name not in _NAMES:
            problems.append(_unknown(name, origin, prefix))
        elif text.strip():
            known[name] = _Given(text.strip(), origin)
    for name in [name for name in known if name not in TABLE]:
        _read_secret(name, known, problems)
    return known


def _unknown(name: str, origin: str, prefix: str) -> str:
    if name.startswith(TRACING_PREFIX):
        own = _clean(name)
        return f"{_clean(prefix)}{own}: OTEL_* is the OpenTelemetry SDK's; set {own} in the environment (set by {_clean(origin)})"
    import difflib  # here, as most starts have no mistake and need not pay for it

    near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.0)[0]
    return f"{_clean(prefix + name)}: unknown setting; did you mean {prefix}{near}? (set by {_clean(origin)})"


def _read_secret(file_name: str, known: dict[str, _Given], problems: list[str]) -> None:
    """Replaces `<NAME>_FILE` in `known` by `<NAME>` with the file's content."""
    path, origin = known.pop(file_name)
    name = file_name.removesuffix("_FILE")
    if name in known:
        problems.append(f"{name} and {file_name} are both set; give one of them (set by {origin})")
        return
    try:
        known[name] = _Given(_read_small(Path(path)).rstrip("\r\n"), f"file {path} ({origin})")
    except (OSError, ValueError) as error:
        problems.append(f"{file_name}={_clean(path)}: cannot be read: {error} (set by {origin})")


def _read_small(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise ValueError(f"more than {FILE_MAX_BYTES} bytes")
    return content.decode()


# Checking.


def _parse_all(given: Mapping[str, _Given], problems: list[str]) -> dict[str, Any]:
    """NAME -> value of everything that is right. What is wrong is left out, so that later rules see its default."""
    values = {}
    for name, setting in TABLE.items():
        if name in given:
            try:
                values[name] = _parse(setting, given[name].text)
            except ValueError as error:
                problems.append(_bad(setting, given, str(error)))
    return values


def _parse(setting: Setting, text: str) -> Any:
    unset = setting.default is None and text.lower() in ("none", "unset")
    try:
        value = setting.default if unset else setting.kind.parse(text)
    except ValueError:
        if setting.later:
            raise ValueError(NOT_AVAILABLE) from None
        raise
    if setting.later and value != setting.default and value not in setting.also:
        raise ValueError(NOT_AVAILABLE)
    return value


def _bad(setting: Setting, given: Mapping[str, _Given], reason: str) -> str:
    text, origin = given[setting.name]
    shown = "***" if setting.secret else _clean(text)
    if setting.name == "CLUSTER_SEEDS" and "REDIS_ADDR" not in given:
        reason = "nodes need a common queue: set REDIS_ADDR"
    accepted = setting.kind.accepted
    if setting.later:
        accepted = ", ".join(setting.show(value) for value in (setting.default, *setting.also))
    return f"{setting.name}={shown}: {reason} (set by {_clean(origin)}; accepted: {accepted})"


def _subject(problem: str) -> str:
    """The setting that it is about, whether given itself or by a file: what is told wrong of it is told once."""
    return problem.partition("=")[0].removesuffix("_FILE")


def _message(problems: list[str]) -> str:
    head = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
    return "\n  ".join([f"{head}, nothing was started:", *problems])


def _clean(text: str) -> str:
    """Fit for one line of an error: control characters escaped, long text cut."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:SHOWN_MAX])
    return shown + ("..." if len(text) > SHOWN_MAX else "")
