"""A record listing's cursor where it is one number: the place, in the order of arrival, under which the next page begins."""

from __future__ import annotations

from ..errors import InvalidJob


def write_cursor(below: int) -> bytes:
    return below.to_bytes(8, "big")


def read_cursor(cursor: bytes, end: int) -> int:
    """The place to begin under; without a cursor, `end`, which is above all of them. Raises: InvalidJob."""
    if not cursor:
        return end
    below = int.from_bytes(cursor, "big")
    if len(cursor) != 8 or below > end:
        raise InvalidJob(f"cursor {cursor[:16].hex()!r} was not made by this store; begin again without one")
    return below
