"""What the user asked for beside the verb's own words: which node, how long, in what form. And the way to that node.

The same options can stand before the verb and after it; the later one counts. They are gathered in one `Caller`, which travels
as the click context's object.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..config import TABLE, Loaded, Settings, load
from ..errors import ConfigError, InvalidJob, PayloadTooLarge
from ..job import check_name, parse_id
from ..units import parse_duration_s
from . import show

if TYPE_CHECKING:
    from ..client.blocking import Client
    from ..client.facts import JobFacts
    from ..job import JobView

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

REQUEST_LIMIT_S = 5.0
"""For one answer of a node: far more than a healthy one needs, and soon enough for a person who forgot to start it."""
FAULT_CHARS_MAX = 1000
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""How Python holds the bytes of an argument that it could not decode."""


@dataclass
class Caller:
    """Filled by the options' callbacks while the command line is read, but for `goes_on`."""

    address: tuple[str, ...] | None = None
    cluster: str | None = None
    timeout_s: float | None = None
    config: Path | None = None
    as_json: bool = False
    yes: bool = False
    debug: bool = False
    goes_on: str = ""
    """What an interrupt does not end: set where a verb has begun something that is the node's from then on."""

    @cached_property
    def loaded(self) -> Loaded:
        """Raises: ConfigError."""
        return load({}, config_file=self.config)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.address or self.loaded.settings.client_address

    def client(self, timeout_s: float | None = None) -> Client:
        """To be closed by the caller (`with`). Raises: ConfigError; nothing is dialled yet."""
        return client_of(
            self.loaded.settings, self.addresses, self.cluster, timeout_s=timeout_s or self.timeout_s or REQUEST_LIMIT_S
        )

    def confirm(self, question: str) -> bool:
        """True with `--yes`, or when a person at the terminal agrees. Raises: click.UsageError when there is nobody to ask."""
        if self.yes:
            return True
        if not sys.stdin.isatty():
            raise click.UsageError("this cannot be undone: add --yes to do it without being asked")
        return click.confirm(question, err=True)


def client_of(settings: Settings, addresses: tuple[str, ...], cluster: str | None, *, timeout_s: float) -> Client:
    """Raises: ConfigError."""
    from ..client.blocking import Client

    return Client(
        *addresses, cluster=cluster or settings.cluster_name, timeout=timeout_s, key_file=settings.client_key_file or "",
        server_key=settings.client_server_key, token=settings.client_token or "", ca_file=settings.client_ca_file or "",
    )  # fmt: skip


def is_http(address: str) -> bool:
    """Whether it is the API's, and not the node's own."""
    return address.startswith(("http://", "https://"))


def view_of(job: JobFacts) -> JobView:
    """The whole picture that the client last got of this job."""
    return job._known()  # the one door to all of it at once; the properties beside it give single values


GOES_ON = "what was submitted goes on"


class Text(click.types.StringParamType):
    """What goes to a node or into a file as text. Names of files are of other types, and may be any bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if NOT_UTF8.search(text):
            shown = show.clean(NOT_UTF8.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text))
            self.fail(f"'{shown}' is not UTF-8; give it as UTF-8 (the terminal or script it came from has another encoding)", param, ctx)
        return text


class Checked(Text):
    """Text that `check` takes; what it raises is told as wrong usage, by the name of the option or argument."""

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        try:
            self._check(text)
        except (InvalidJob, ConfigError, ValueError) as fault:
            self.fail(show.clean(str(fault), FAULT_CHARS_MAX), param, ctx)
        return text


JOB_ID = Checked(parse_id)


def name_of(what: str, chars_max: int) -> Checked:
    """The name of a queue, a type, a tag ..., as a look-up takes it."""
    return Checked(lambda text: check_name(what, text, chars_max))


@contextmanager
def usage() -> Iterator[None]:
    """Around what is put together here, before a node is asked: what is wrong with it is wrong usage, and nothing was done."""
    try:
        yield
    except (InvalidJob, PayloadTooLarge) as fault:
        raise click.UsageError(show.clean(str(fault), FAULT_CHARS_MAX)) from None


def check_texts(command: click.Command) -> click.Command:
    """The same command, whose texts are checked by name of option or argument: what the wire says of them names neither."""
    for param in command.params:
        if isinstance(param.type, click.types.StringParamType) and not isinstance(param.type, Text):
            param.type = Text()
    for verb in command.commands.values() if isinstance(command, click.Group) else ():
        check_texts(verb)
    return command


def duration(text: str | float) -> float:
    """An option's `5s` as seconds. Raises: click.BadParameter."""
    try:
        return parse_duration_s(text)
    except ValueError as fault:
        raise click.BadParameter(str(fault)) from None


def limit_of_call(text: str | float) -> float:
    """As `duration`, within what a client takes as the time of a call."""
    from ..client.options import submit_s  # only where it is needed: it loads msgpack

    within_s = duration(text)
    try:
        return submit_s("it", within_s)
    except InvalidJob as fault:
        raise click.BadParameter(str(fault)) from None


def like_setting(name: str) -> Callable[[Any], Any]:
    """An option's text, read as the setting of that name is."""
    kind = TABLE[name].kind

    def read(text: Any) -> Any:
        try:
            return kind.parse(text) if isinstance(text, str) else text
        except ValueError as fault:
            raise click.BadParameter(f"{text!r} {fault}; accepted: {kind.accepted}") from None

    return read


caller = click.make_pass_decorator(Caller, ensure=True)
"""Passes the Caller as the first argument."""


def _kept(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        held = ctx.ensure_object(Caller)
        if value not in (None, False):
            setattr(held, field, value)

    return keep


def _option(field: str, *names: str, **column: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, callback=_kept(field), expose_value=False, **column)


_address = _option(
    "address", "--address", type=like_setting("CLIENT_ADDRESS"), metavar="ADDRESS",
    help="The node, as tcp://HOST:PORT, or its API, as http://HOST:PORT; several with commas fail over. [CLIENT_ADDRESS]",
)  # fmt: skip
_cluster = _option(
    "cluster", "--cluster", type=like_setting("CLUSTER_NAME"), metavar="NAME", help="Name of its cluster. [CLUSTER_NAME]"
)
_timeout = _option(
    "timeout_s", "--timeout", type=limit_of_call, metavar="DURATION", help=f"Longest wait for one answer. [{REQUEST_LIMIT_S:g}s]"
)
_config = _option(
    "config", "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Settings in TOML. [zjp.toml, when there is one]",
)  # fmt: skip
_debug = _option("debug", "--debug", is_flag=True, help="Show the traceback of an error.")
_json = _option("as_json", "--json", is_flag=True, help="JSON on stdout.")
_yes = _option("yes", "--yes", "-y", is_flag=True, help="Do what cannot be undone without asking.")


def connecting(function: Decorated) -> Decorated:
    """For every verb that talks to a node."""
    return _address(_cluster(_timeout(_config(_yes(_debug(function))))))


def talking(function: Decorated) -> Decorated:
    """`connecting` without `--timeout` and `--yes`, for verbs that mean something else by them or do nothing final."""
    return _address(_cluster(_config(_debug(function))))


def local(function: Decorated) -> Decorated:
    """For verbs that need settings, but no node."""
    return _config(_debug(function))


def reading(function: Decorated) -> Decorated:
    """For every verb that tells something."""
    return _json(function)
