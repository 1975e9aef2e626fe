"""How nodes meet: what the mesh says before, beside and after the words of the election (peers.py). Pure.

    dialler ──Hello──► door      on each new connection, before anything else
    dialler ◄─Welcome── door     the door's own facts, and whom it has met: joining one node joins all
    dialler ◄─Refused── door     another algorithm, the id of a node that lives, a full table
    node ──Members──► node       somebody is new, and now and then, so that who was missed is found
    node ──Bye──► node           it leaves: nobody waits for it to fall silent
    node ──AskPeer──► node       what somebody asks of it through another (relayed.py); TellPeer goes back
    leader ──AskStore──► node    whether the store answers it, as it does not answer the leader (reach.py); TellStore goes back

No key travels in them. Who may be a node, and with which keys, is in each node's own folder of authorized keys, by node id; an address
that comes from a peer is dialled with the keys of that id. So a member that lies about an address can make others knock there in vain, and
nothing more; a key carried in Members would have to be checked against the same folder anyhow.

A message of the mesh has three frames, [MESH, envelope, body]: a door tells it from a client's by the first, without reading further.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from .peers import Name, Number, PeerMessage, Priority
from .reach import Reaching
from .relayed import Relayed

MESH = b"mesh"
"""First frame of what nodes say to one another."""
PEER_BYTES_MAX = 512 << 10
"""Body of one message between nodes: a table of 4,096 members with names of full length, or 256 entries of Raft. Far below a client's, so
that no peer can make another decode for long."""
MEMBERS_MAX = 1024
ADDRESS_CHARS_MAX = 300

Home = Annotated[str, msgspec.Meta(max_length=64)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_CHARS_MAX)]
Algorithm = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]


class PeerEnvelope(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`sender` and `boot` name one life of one node; `seq` rises with everything that life says to anybody. `to` is empty only in a
    Hello to an address whose node is not known yet."""

    version: int
    cluster: str
    sender: Name
    boot: Number
    seq: Number
    to: Annotated[str, msgspec.Meta(max_length=64)]


class Member(msgspec.Struct, array_like=True, frozen=True, gc=False):
    node: Name
    boot: Number
    address: Address


MemberList = Annotated[list[Member], msgspec.Meta(max_length=MEMBERS_MAX)]


class Hello(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=260):
    """`home`: the data folder's own mark, which tells two nodes of one name apart. `address`: where the sender takes messages."""

    home: Home
    address: Address
    priority: Priority
    algorithm: Algorithm


class Welcome(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=261):
    """As Hello, from the other side; `members`: whom it has met."""

    home: Home
    address: Address
    priority: Priority
    algorithm: Algorithm
    members: MemberList


class Members(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=262):
    members: MemberList


class Bye(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=263):
    """This life of the sender says nothing more."""

    reason: Reason = ""


class RefusalKind(str, Enum):
    ALGORITHM = "algorithm"
    TWIN = "twin"
    """A node of this id lives, on another data folder."""
    FULL = "full"


class Refused(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=264):
    kind: RefusalKind
    reason: Reason


Greeting = Hello | Welcome | Members | Bye | Refused
MeshMessage = PeerMessage | Greeting | Relayed | Reaching
