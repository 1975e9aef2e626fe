"""Where a client finds its nodes, and with which keys, when it is not told: CLIENT_ADDRESS, CLUSTER_NAME, CLIENT_KEY_FILE and
CLIENT_SERVER_KEY."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .keys import Keyring, open_keyring
from .links import split_addresses


class Target(NamedTuple):
    addresses: list[str]
    cluster: str
    keyring: Keyring | None


def target(
    addresses: Sequence[str], cluster: str | None, key_file: str | Path | None, server_key: str | None
) -> Target:
    """What was given, the rest from the settings; an empty `key_file` means none. Raises: ConfigError."""
    if addresses and cluster is not None and key_file is not None:
        return Target(split_addresses(addresses), cluster, open_keyring(key_file, server_key))
    from ..config import load  # only where it is needed: reading the settings checks all of them

    settings = load({}).settings
    if key_file is None:
        key_file, server_key = settings.client_key_file, server_key or settings.client_server_key
    return Target(
        split_addresses(addresses or settings.client_address),
        settings.cluster_name if cluster is None else cluster,
        open_keyring(key_file, server_key),
    )
