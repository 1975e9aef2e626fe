"""The client's own CURVE key, and the public keys that nodes may answer with.

Each node has a key of its own, and an address does not say whose it is. So for each address the keys are tried in turn until one fits: a
node that cannot read the greeting closes the connection without a word, and the next attempt takes the next key. The same makes a change
of a node's key painless: name both until it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import zmq

from ..errors import ConfigError
from ..transport.curve import KeyPair, protect_client, read_key_text, read_pair
from ..transport.watch import HANDSHAKE_FAILED

SERVER_KEYS_MAX = 64


class Keyring:
    """`servers` in the order in which they are tried."""

    def __init__(self, pair: KeyPair, servers: Sequence[bytes]) -> None:
        self._pair, self._servers = pair, list(servers)
        self._turns: dict[str, int] = {}
        """By address, how many keys did not fit."""

    def protect(self, socket: zmq.Socket[bytes], address: str) -> None:
        """Before it connects. Sockets in the file system are guarded by that."""
        if not address.startswith("ipc://"):
            protect_client(socket, self._pair, self._servers[self._turns.get(address, 0) % len(self._servers)])

    def learn(self, address: str, fault: str) -> None:
        """What became of the connection."""
        if fault == HANDSHAKE_FAILED:
            self._turns[address] = (self._turns.get(address, 0) + 1) % len(self._servers)


def open_keyring(key_file: str | Path | None, server_key: str | None) -> Keyring | None:
    """None when neither is given. Raises: ConfigError."""
    if not key_file and not server_key:
        return None
    if not key_file:
        raise ConfigError(
            "CLIENT_SERVER_KEY is set, and CLIENT_KEY_FILE is not: nodes with CURVE let nobody in without a key; make one: "
            "zjp keys producer NAME"
        )
    if not server_key:
        raise ConfigError(
            "CLIENT_KEY_FILE is set, and CLIENT_SERVER_KEY is not: set it to the nodes' public keys, so that nobody else "
            "can answer for them"
        )
    texts = [text.strip() for text in server_key.split(",") if text.strip()]
    if not 1 <= len(texts) <= SERVER_KEYS_MAX:
        raise ConfigError(f"CLIENT_SERVER_KEY names {len(texts)} keys, it must name 1 to {SERVER_KEYS_MAX}")
    try:
        servers = [read_key_text(text) for text in texts]
    except ValueError as fault:
        raise ConfigError(f"CLIENT_SERVER_KEY {fault}; `zjp keys node` shows it") from None
    return Keyring(read_pair(Path(key_file).expanduser()), servers)
