"""`zjp keys`: make CURVE keys, and say whose may connect to the nodes of this folder. No node is asked: these are files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..errors import ConfigError, NotFound
from . import show
from .options import Caller, Checked, caller, local, reading

if TYPE_CHECKING:
    from ..transport.curve import Holder, KeyPair

ROLES = ("node", "producer", "observer", "admin", "gateway")
"""As transport/curve.py has them; here so that help and completion need not load ZeroMQ."""


@click.group("keys", short_help="Make, authorize and revoke CURVE keys.")
def command() -> None:
    """Keys for encrypted connections (CURVE_ENABLED). Secret files have mode 0600 and are never sent anywhere; hand on the public key.

    A running node reads its authorized keys again on SIGHUP: kill -HUP "$(cat DATA_DIR/lock)"
    """


def _check_name(name: str) -> None:
    """Raises: ConfigError."""
    from ..transport.curve import check_key_name

    check_key_name(name)


class KeyFile(click.Path):
    """Where a secret key is to be written: beside it, with the ending .pub, comes the public one."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Any = super().convert(value, param, ctx)
        if not path.name or path.suffix == ".pub":
            self.fail(f"{str(value)!r} is no place for a secret key: name a file, and one that does not end in .pub", param, ctx)
        return path


KEY_NAME = Checked(_check_name)
OUT = click.option("--out", type=KeyFile(), metavar="FILE", help="Where to write the secret key.")


@command.command("node")
@click.option("--name", type=KEY_NAME, metavar="NODE_ID", help="The node's id. [NODE_ID, or the one kept in DATA_DIR]")
@OUT
@reading
@local
@caller
def node(asked: Caller, name: str | None, out: Path | None) -> None:
    """Make this node's key: CURVE_DIR/node.key, and beside it node.pub for the others.

    Every other node must authorize it: zjp keys authorize node.pub --role node. Clients name the public key in CLIENT_SERVER_KEY.
    """
    from ..transport.curve import NODE_KEY, make_folder

    settings = asked.loaded.settings
    if out is None:
        make_folder(settings.curve_folder)
        out = settings.curve_folder / NODE_KEY
    _make(asked, out, name or _node_id(settings))


@command.command("producer")
@click.argument("name", type=KEY_NAME, metavar="NAME")
@OUT
@reading
@local
@caller
def producer(asked: Caller, name: str, out: Path | None) -> None:
    """Make a client's key: NAME.key, for CLIENT_KEY_FILE, and NAME.pub, which each node must authorize.

    What the key may do is said there: zjp keys authorize NAME.pub --role producer (or observer, or admin).
    """
    _make(asked, out or Path(f"{name}.key"), name)


@command.command("authorize")
@click.argument("key", metavar="FILE|PUBLIC_KEY", type=click.UNPROCESSED)
@click.option(
    "--role", type=click.Choice(ROLES), required=True,
    help="node: speaks to nodes; producer: submits, reads, cancels; observer: reads; admin: all, pausing and purging queues too; "
    "gateway: an HTTP API that stands alone, which speaks for its users.",
)  # fmt: skip
@click.option("--name", type=KEY_NAME, metavar="NAME", help="Whose it is. [as the file says]")
@reading
@local
@caller
def authorize(asked: Caller, key: str, role: str, name: str | None) -> None:
    """Let a public key connect to the nodes that use this CURVE_DIR. A name may have several keys, so that they can be changed."""
    from ..transport import curve

    public_name, public = _public(key)
    owner = name or public_name
    if not owner:
        raise click.UsageError("a bare key has no name: say whose it is with --name")
    holder = curve.Holder(curve.check_key_name(owner), curve.KeyRole(role), public)
    path = curve.authorize(asked.loaded.settings.curve_folder / curve.AUTHORIZED, holder)
    _tell(asked, [holder], f"{role} {holder.name} is authorized by {path}; a running node learns of it by SIGHUP")


@command.command("revoke")
@click.argument("which", metavar="NAME|PUBLIC_KEY")
@click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
@reading
@local
@caller
@click.pass_context
def revoke(ctx: click.Context, asked: Caller, which: str, yes: bool) -> None:
    """Take all keys of a name, or one key, from those that may connect. Nodes cut their connections off at the next SIGHUP. Asks first."""
    from ..transport import curve

    asked.yes = asked.yes or yes
    if not asked.confirm(f"Revoke {which}?"):
        show.talk("nothing was done")
        ctx.exit(1)
    gone = curve.revoke(asked.loaded.settings.curve_folder / curve.AUTHORIZED, which)
    if not gone:
        raise NotFound(f"no authorized key has the name {which!r}, or is it; `zjp keys list` shows them")
    _tell(asked, gone, "revoked; a running node cuts them off on SIGHUP: kill -HUP \"$(cat DATA_DIR/lock)\"")


@command.command("list")
@reading
@local
@caller
def list_keys(asked: Caller) -> None:
    """List the keys that may connect."""
    from ..transport import curve

    table = curve.read_authorized(asked.loaded.settings.curve_folder / curve.AUTHORIZED)
    holders = sorted(table.values(), key=lambda one: (one.role, one.name, one.user_id))
    if asked.as_json:
        show.as_json([_row(holder) for holder in holders])
    else:
        show.table(("ROLE", "NAME", "PUBLIC KEY"), [(holder.role.value, holder.name, holder.user_id) for holder in holders])


def _make(asked: Caller, path: Path, name: str) -> None:
    from ..transport.curve import make_pair, write_pair, write_public

    pair = make_pair(name)
    public_path = path.with_suffix(".pub")
    if public_path.exists():
        raise ConfigError(f"{public_path} is there already; move it away, or name another file with --out")
    write_pair(path, pair)
    write_public(public_path, pair)
    _show_made(asked, pair, path)


def _show_made(asked: Caller, pair: KeyPair, path: Path) -> None:
    if asked.as_json:
        show.as_json({"name": pair.name, "public": pair.public.hex(), "file": str(path)})
        return
    click.echo(pair.public.hex())
    show.talk(f"the public key of {pair.name}; its secret is in {path}")


def _node_id(settings: Settings) -> str:
    if settings.node_id is not None:
        return settings.node_id
    kept = settings.data_dir / "node-id"
    if not kept.exists():
        raise click.UsageError("this node has no id yet: set NODE_ID, or give --name; the node must run under the same NODE_ID")
    return kept.read_text("utf-8", "replace").strip()


def _public(key: str) -> tuple[str, bytes]:
    """(name, empty when only the key was given; the key)."""
    from ..transport.curve import read_key_text, read_public

    try:
        is_file = Path(key).is_file()
    except OSError:  # longer than a name may be
        is_file = False
    if is_file:
        return read_public(Path(key))
    try:
        return "", read_key_text(key)
    except ValueError as fault:
        raise click.BadParameter(f"there is no such file, and as a key it {fault}") from None


def _tell(asked: Caller, holders: list[Holder], text: str) -> None:
    if asked.as_json:
        show.as_json([_row(holder) for holder in holders])
    else:
        show.talk("\n".join([*(f"{one.role.value} {one.name} {one.user_id}" for one in holders), text]))


def _row(holder: Holder) -> dict[str, str]:
    return {"role": holder.role.value, "name": holder.name, "public": holder.user_id}
