"""Where a client finds its nodes, and how it shows who it is, when it is not told: CLIENT_ADDRESS, CLUSTER_NAME, CLIENT_KEY_FILE and
CLIENT_SERVER_KEY over ZeroMQ, CLIENT_TOKEN and CLIENT_CA_FILE over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from .keys import Keyring, open_keyring
from .links import is_http, split_addresses

if TYPE_CHECKING:
    from .http_entry import Entry


class Access(NamedTuple):
    """What an HTTP address asks for; None: not given."""

    token: str | None = None
    login: tuple[str, str] | None = None
    ca_file: str | Path | None = None


class Target(NamedTuple):
    """Of an HTTP address only the first counts: the API knows its cluster itself."""

    addresses: list[str]
    cluster: str
    keyring: Keyring | None

    @property
    def is_http(self) -> bool:
        return is_http(self.addresses[0])


def target(
    addresses: Sequence[str], cluster: str | None, key_file: str | Path | None, server_key: str | None
) -> Target:
    """What was given, the rest from the settings; an empty `key_file` means none. Raises: ConfigError."""
    if addresses and is_http(split_addresses(addresses)[0]):
        return Target(split_addresses(addresses), "", None)
    if addresses and cluster is not None and key_file is not None:
        return Target(split_addresses(addresses), cluster, open_keyring(key_file, server_key))
    from ..config import load  # only where it is needed: reading the settings checks all of them

    settings = load({}).settings
    if not addresses and is_http(settings.client_address[0]):
        return Target(split_addresses(settings.client_address), "", None)
    if key_file is None:
        key_file, server_key = settings.client_key_file, server_key or settings.client_server_key
    return Target(
        split_addresses(addresses or settings.client_address),
        settings.cluster_name if cluster is None else cluster,
        open_keyring(key_file, server_key),
    )


def way_in(given: Access) -> tuple[Entry, str | None]:
    """(entry, CA file): what was given, the rest from the settings; an empty token or file means none. Raises: ConfigError."""
    from .http_entry import Entry

    token, login, ca_file = given
    if (token is None and login is None) or ca_file is None:
        from ..config import load

        settings = load({}).settings
        token = settings.client_token if token is None and login is None else token
        ca_file = settings.client_ca_file if ca_file is None else ca_file
    return Entry(token, login), str(Path(ca_file).expanduser()) if ca_file else None


def refuse_access(given: Access) -> None:
    """Raises: ConfigError."""
    for name, value in zip(("token", "login"), given[:2], strict=True):
        if value:
            raise ConfigError(
                f"{name} is for http:// and https:// addresses; over ZeroMQ a key says who it is (key_file)"
            )
