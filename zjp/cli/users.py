"""`zjp users`: who may log in by HTTP. Asks the node itself, so it works before there is a first admin, and with the API away.

The node on this machine is asked at the gate in its data folder, which its owner alone can open; that makes the asker an admin. With an
address, of whichever node is there: its key, or the plain connection, must be an admin's then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .. import passwords
from ..config.load import DEFAULT
from ..errors import NotFound, WrongState
from ..job_json import time_json
from ..tokens import check_user_name
from ..transport.gate import gate_address
from ..wire.desk import User
from . import show
from .options import REQUEST_LIMIT_S, Caller, Checked, caller, client_of, connecting, reading
from .secrets import password, password_file

if TYPE_CHECKING:
    from ..client.blocking import Client

ROLES = ("admin", "user", "worker")


@click.group("users", short_help="Add, list and remove who may log in.")
def command() -> None:
    """Who may log in to the HTTP API and the dashboard, with which role.

    Run on a node's machine, as its owner and with its DATA_DIR, it asks that node; elsewhere give --address, and an admin's key.
    """


NAME = click.argument("name", type=Checked(check_user_name), metavar="NAME")


@command.command("add")
@NAME
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="worker reads; user also submits and cancels; admin does all.",
)
@password_file
@reading
@connecting
@caller
def add(asked: Caller, name: str, role: str, password_file: Path | None) -> None:
    """Make a user. The password is asked for twice, or read from a file; 8 characters and more, and none that everybody tries."""
    kept = _hash_of(name, password_file)
    with _client(asked) as client:
        if _named(client, name) is not None:
            raise WrongState(f"there is a user {name!r} already; `zjp users passwd {name}` gives it another password")
        stored = client.put_user(User(name, role, kept))
    _tell(asked, stored, f"{name} can log in with the role {role}")


@command.command("passwd")
@NAME
@password_file
@reading
@connecting
@caller
def passwd(asked: Caller, name: str, password_file: Path | None) -> None:
    """Give a user another password. All its tokens and sessions end within 2 s."""
    with _client(asked) as client:
        if _named(client, name) is None:
            raise _unknown(name)
        kept = _hash_of(name, password_file)
        user = _named(client, name)
        if user is None:
            raise _unknown(name)
        stored = client.put_user(msgspec.structs.replace(user, hash=kept, is_dev=False))
    _tell(asked, stored, f"{name} has another password; what was logged in as {name} is logged out within 2 s")


@command.command("remove")
@NAME
@connecting
@caller
@click.pass_context
def remove(ctx: click.Context, asked: Caller, name: str) -> None:
    """Remove a user. All its tokens and sessions end within 2 s. Asks first; --yes does not."""
    if not asked.confirm(f"Remove the user {name}?"):
        show.talk("nothing was done")
        ctx.exit(1)
    with _client(asked) as client:
        if not client.remove_user(name):
            raise _unknown(name)
    show.talk(f"{name} is removed")


@command.command("list")
@reading
@connecting
@caller
def list_users(asked: Caller) -> None:
    """List all users and their roles."""
    with _client(asked) as client:
        users = client.users()
    if asked.as_json:
        show.as_json([_json(user) for user in users])
    elif users:
        show.table(
            ("NAME", "ROLE", "CHANGED", ""),
            [
                (user.name, user.role, show.ago(user.changed_ms), "AUTH_DEV_USERS" if user.is_dev else "")
                for user in users
            ],
        )
    else:
        show.talk("there are no users yet; `zjp users add NAME --role admin` makes the first")


def _client(asked: Caller) -> Client:
    """Raises: ConfigError."""
    settings = asked.loaded.settings
    addresses = asked.addresses
    if asked.address is None and asked.loaded.origins["CLIENT_ADDRESS"] == DEFAULT:
        gate = gate_address(settings.data_dir)
        if os.path.exists(gate.removeprefix("ipc://")):
            addresses = (gate,)
    return client_of(settings, addresses, asked.cluster, timeout_s=asked.timeout_s or REQUEST_LIMIT_S)


def _named(client: Client, name: str) -> User | None:
    return next((user for user in client.users(name) if user.name == name), None)


def _hash_of(name: str, file: Path | None) -> str:
    """Raises: click.UsageError."""
    given = password(file, f"Password of {name}", is_new=True)
    try:
        passwords.check_strength(name, given)
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
    return passwords.make(given)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no user {name!r}; `zjp users list` shows those that are")


def _tell(asked: Caller, user: User, talk: str) -> None:
    if asked.as_json:
        show.as_json(_json(user))
    show.talk(talk)


def _json(user: User) -> dict[str, object]:
    return {
        "name": user.name,
        "role": user.role,
        "created_at": time_json(user.created_ms),
        "changed_at": time_json(user.changed_ms),
        "is_dev": user.is_dev,
    }
