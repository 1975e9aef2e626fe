"""Whether the store answers a node, asked and told over the mesh by a leader that it does not answer. Pure.

Of the same series as greeting.py. A node of a version before these drops them, and so counts as one that the store does not answer.
"""

from __future__ import annotations

import msgspec

from .peers import Number


class AskStore(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=267):
    """The store does not answer the sender, which leads: does it answer you? `number` rises; the answer repeats it."""

    number: Number


class TellStore(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=268):
    """`is_there`: the store answered, asked after the AskStore came."""

    number: Number
    is_there: bool


Reaching = AskStore | TellStore
