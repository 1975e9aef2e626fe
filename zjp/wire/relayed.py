"""What nodes pass on for those who ask them: a request for another node, and its reply. Pure.

Of the same series as greeting.py. `body` is what a client would have sent to that node, and what that node would have answered.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .desk import NAME_CHARS_MAX
from .peers import Number

REQUEST_BYTES_MAX = 4 << 10
REPLY_BYTES_MAX = 500 << 10
"""With what is around it, still within what nodes take from one another."""


class AskPeer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=265):
    """`user` asks, who may do what `role` may. Answered by TellPeer of the same number."""

    number: Number
    user: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
    role: int
    body: Annotated[bytes, msgspec.Meta(max_length=REQUEST_BYTES_MAX)]


class TellPeer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=266):
    number: Number
    body: Annotated[bytes, msgspec.Meta(max_length=REPLY_BYTES_MAX)]


Relayed = AskPeer | TellPeer
