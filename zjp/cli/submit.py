"""`zjp submit TYPE`: one job, from arguments, a file or standard input."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from ..job import ID_BYTES
from ..job_json import Double, job_json, once_each, plain
from . import show
from .options import GOES_ON, JOB_ID, Caller, caller, duration, is_http, reading, talking, usage, view_of

if TYPE_CHECKING:
    from ..client.blocking import Job
    from ..wire.messages import Pong

PAYLOAD_BYTES_MAX = 16 << 20
"""Read from a file at most: the node's own limit is below that and says so."""


NAMES_SHOWN = 20


class TooLarge(ValueError):
    """A number that Python's reader would make infinite."""


def moment(text: str) -> float:
    """RFC 3339 as Unix seconds; without a zone it is UTC, as in the client. Raises: click.BadParameter."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as fault:
        raise click.BadParameter(f"{text!r} is no time ({fault}); accepted: 2030-01-31T12:00:00Z or ...+02:00") from None


@click.command("submit", short_help="Submit a job.")
@click.argument("type", metavar="TYPE")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--payload", metavar="JSON", help="The arguments as one JSON object.")
@click.option("--payload-file", type=click.File("rb"), metavar="FILE", help="The same from a file; - is standard input.")
@click.option("--queue", metavar="NAME", help="[default]")
@click.option("--priority", type=click.IntRange(1, 10), metavar="1-10", help="10 runs first. [5]")
@click.option("--delay", type=duration, metavar="DURATION", help="Run it no sooner than after this.")
@click.option("--run-at", type=moment, metavar="TIME", help="Run it no sooner than at this moment (RFC 3339).")
@click.option("--max-retries", type=click.IntRange(0, 1000), metavar="N", help="[the task's own, else MAX_RETRIES]")
@click.option("--timeout", type=duration, metavar="DURATION", help="Limit of one attempt. [the task's own, else JOB_TIMEOUT]")
@click.option("--soft-timeout", type=duration, metavar="DURATION", help="An exception in the task after this.")
@click.option("--unique-key", metavar="KEY", help="At most one unfinished job holds it.")
@click.option("--idempotency-key", metavar="KEY", help="A repeat within a day gives the same job.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="May be given several times.")
@click.option("--id", type=JOB_ID, metavar="UUID", help="An id of your own: makes the submit safe to repeat.")
@click.option("--wait", is_flag=True, help="Wait until it is finished and print its result.")
@click.option("--timeout-wait", type=duration, metavar="DURATION", help="Wait so long at most (exit code 69 after it).")
@reading
@talking
@caller
def command(
    asked: Caller,
    /,
    type: str,
    arguments: tuple[str, ...],
    payload: str | None,
    payload_file: IO[bytes] | None,
    wait: bool,
    timeout_wait: float | None,
    **options: Any,
) -> None:
    """Submit a job of TYPE and print its id.

    A VALUE is read as JSON where it is JSON (5, true, null, [1,2], '"5"'), else as text:

        zjp submit email recipient=a@example.com subject=hi --priority 10 --wait

    With --wait the result is printed as JSON; exit code 1 when the job failed.
    """
    content = read_payload(arguments, payload, payload_file)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    is_waiting = wait or timeout_wait is not None
    with usage():
        check_job(type, content, given)
        _check_for_http(asked, given)
    with asked.client() as client:
        asked.goes_on = "the job may have been submitted"
        job = client.submit(type, content, **given)
        asked.goes_on = GOES_ON
        if not is_http(asked.addresses[0]):  # there it is not told what the node serves
            _warn_if_unserved(client.ping(), type)
        if is_waiting:
            show.talk(job.id)
            job.wait(timeout=timeout_wait)
    _tell(asked, job, waited=is_waiting)


def check_job(type: str, payload: Any, options: Mapping[str, Any]) -> None:
    """As the client will before it sends it. Raises: InvalidJob, PayloadTooLarge."""
    from ..client.options import make_spec
    from ..client.packing import pack_payload

    make_spec(bytes(ID_BYTES), type, pack_payload(payload), options)


def _check_for_http(asked: Caller, options: Mapping[str, Any]) -> None:
    """Raises: InvalidJob."""
    if "idempotency_key" in options and is_http(asked.addresses[0]):
        from ..client.http_wire import key_header

        key_header(options["idempotency_key"])


def _warn_if_unserved(node: Pong, type: str) -> None:
    """The job is accepted all the same: a node with another application may take it."""
    if not node.tasks:
        show.talk(f"note: {node.node} has no application; the job waits until a node serves {type!r}")
    elif type not in node.tasks:
        served = ", ".join(sorted(node.tasks)[:NAMES_SHOWN])
        show.talk(f"note: {node.node} serves no task {type!r} (but {served}); the job fails when no node does within a minute")


def read_payload(arguments: tuple[str, ...], text: str | None, file: IO[bytes] | None) -> dict[str, Any]:
    """Raises: click.UsageError."""
    if text is not None and file is not None:
        raise click.UsageError("give --payload or --payload-file, not both")
    if file is not None:
        raw = file.read(PAYLOAD_BYTES_MAX + 1)
        if len(raw) > PAYLOAD_BYTES_MAX:
            raise click.UsageError(f"--payload-file holds more than {PAYLOAD_BYTES_MAX} bytes; pass a reference instead")
        try:
            text = raw.decode()
        except UnicodeDecodeError as fault:
            raise click.UsageError(f"--payload-file is not UTF-8 (byte {fault.start}); save it as UTF-8") from None
    try:
        given = once_each(list(map(_pair_of, arguments)))
    except Double as fault:
        raise click.UsageError(f"{fault.name}= is given twice; give a list as JSON, as in {fault.name}=[1,2]") from None
    return {**(object_of(text) if text is not None else {}), **given}


def object_of(text: str) -> dict[str, Any]:
    """Raises: click.UsageError."""
    try:
        value = _read_json(text)
    except ValueError as fault:
        raise click.UsageError(f"the payload is not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f'the payload is a {type(value).__name__}; give a JSON object, as in {{"recipient": "..."}}')
    return value


def _pair_of(argument: str) -> tuple[str, Any]:
    key, sign, text = argument.partition("=")
    if not sign or not key:
        raise click.UsageError(f"{argument!r} is not KEY=VALUE")
    try:
        return key, _read_json(text)
    except (Double, TooLarge) as fault:
        raise click.UsageError(f"the value of {key}= is JSON that would be altered: {fault}; as text it stands in \"\"") from None
    except ValueError:
        return key, text


def _read_json(text: str) -> Any:
    """Raises: ValueError, also where Python's own reader knows more than JSON, or cannot go so deep."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=once_each)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """Raises: TooLarge."""
    if not math.isfinite(value := float(text)):
        raise TooLarge(f"{text} is larger than a number may be")
    return value


def _tell(asked: Caller, job: Job, *, waited: bool) -> None:
    if asked.as_json:
        show.as_json(job_json(view_of(job)) if waited else {"id": job.id, "existed": job.existed, "durability": job.level})
    elif not waited:
        click.echo(job.id)
        if job.existed:
            show.talk("this job existed already")
    if waited:
        result = job.result
        if not asked.as_json:
            show.as_json(plain(result))
