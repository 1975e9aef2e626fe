"""Who asks, and what it may do: told by the connection, and by what an envelope says where the connection may speak for others.

    by a key (CURVE)            as its role says; a gateway's key may do all, and speak for others
    by the gate, with its token the node's own HTTP door: the same
    by the gate, without one    an operator on this machine, who may open the folder of DATA_DIR: admin
    by tcp, without a key       this machine, or anybody where ZMQ_ALLOW_PLAIN lets in anybody: admin while auth is off, user while it is on

Whoever may not speak for others and tries, or shows a token that is none, is refused, whatever it asks.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from ..errors import NotAllowed
from ..transport.curve import Holder, KeyRole
from ..wire import messages as m
from ..wire.desk import Note

ROLES = {
    KeyRole.ADMIN: m.Role.ADMIN,
    KeyRole.PRODUCER: m.Role.USER,
    KeyRole.OBSERVER: m.Role.WORKER,
    KeyRole.GATEWAY: m.Role.GATEWAY,
}
"""What each key may ask. A node's key asks nothing: whoever stole one should not be a producer as well."""
LOCAL, HTTP = "local", "http"
"""Of connections that have no other name: in the audit."""


@dataclass(frozen=True, slots=True)
class Asker:
    """`name`: of the user, else of the key, else LOCAL or HTTP. `role` None: it may ask nothing. `is_door`: an HTTP door, for itself or for
    somebody. `source`: what tells its requests from those of others; no two askers who may not see each other's answers share it."""

    name: str
    role: m.Role | None
    is_door: bool = False
    source: bytes = b""
    holder: Holder | None = None
    is_user: bool = False
    """A door asks for it."""


class Askers:
    """`gate`: the token of the HTTP door; empty: there is none. `gate_address`, once it is bound, is named in refusals."""

    def __init__(self, *, gate: bytes = b"", is_auth_on: bool = False) -> None:
        self.gate_address = ""
        self._gate = gate
        plain = m.Role.USER if is_auth_on else m.Role.ADMIN
        self._plain = Asker(LOCAL, plain, source=b"plain")
        self._operator = Asker(LOCAL, m.Role.ADMIN, source=b"gate")
        self._door = Asker(HTTP, m.Role.GATEWAY, is_door=True, source=b"door")

    def who(self, envelope: m.Envelope, holder: Holder | None, is_gate: bool) -> Asker:
        """Raises: NotAllowed."""
        asker = self._by_connection(envelope, holder, is_gate)
        if envelope.user or envelope.role:
            return _on_behalf(asker, envelope)
        return asker

    def _by_connection(self, envelope: m.Envelope, holder: Holder | None, is_gate: bool) -> Asker:
        if envelope.gate and not (is_gate and self._gate and hmac.compare_digest(envelope.gate, self._gate)):
            raise NotAllowed(
                "the envelope shows a gate's token that this node did not give, or not at its gate; only the HTTP door that the node "
                "started has one"
            )
        if holder is not None:
            role = ROLES.get(holder.role)
            return Asker(holder.name, role, role is m.Role.GATEWAY, holder.public, holder)
        if not is_gate:
            return self._plain
        return self._door if envelope.gate else self._operator

    def check_role(self, asker: Asker, request: m.Request) -> None:
        """Raises: NotAllowed."""
        least = m.LEAST_ROLE[type(request)]
        if asker.role is not None and asker.role >= least:
            return
        if asker.is_door and isinstance(request, Note):
            return  # what the door notes is its own deed, also when it says for whom
        what = type(request).__name__
        if asker.is_user or asker.holder is None:
            has = "nothing" if asker.role is None else asker.role.name.lower()
            raise NotAllowed(
                f"{what} needs the role {least.name.lower()}; {asker.name} has {has}{self._way_out(asker)}"
            )
        # A gateway's key could too, but nobody should take one for that.
        able = ", ".join(key_role.value for key_role, has in ROLES.items() if least <= has <= max(least, m.Role.ADMIN))
        raise NotAllowed(f"{what} needs a key of role {able}; {asker.name} has one of role {asker.holder.role.value}")

    def _way_out(self, asker: Asker) -> str:
        if asker.is_user or asker.source != self._plain.source or not self.gate_address:
            return ""
        return f" while auth is on: ask at {self.gate_address} on the node's machine (CLIENT_ADDRESS)"


def _on_behalf(asker: Asker, envelope: m.Envelope) -> Asker:
    if not asker.is_door:
        raise NotAllowed(
            f"the envelope speaks for {envelope.user[:64]!r}; only the HTTP door may speak for others: leave user and role out, or connect "
            "with a key of role gateway"
        )
    if not m.Role.WORKER <= envelope.role <= m.Role.ADMIN:
        raise NotAllowed(
            f"the envelope speaks for somebody of role {envelope.role}, which is none; accepted: 1 (worker) to 3 (admin)"
        )
    name = envelope.user or (LOCAL if asker.holder is None else asker.name)
    return Asker(name, m.Role(envelope.role), True, asker.source, asker.holder, is_user=True)
