"""A name that stands twice in one object of a body. JSON lets readers choose which of the two counts, so two of them may read one text
differently, and whoever wrote it meant one thing only: it is refused.

To find out costs several times what decoding does. So it is asked first whether it can be: each name has a colon, so where there are no
more of those than there are different names, no name stands twice. That takes a microsecond or two, and answers for most small bodies;
only the others are read name by name. Bodies above LOOKED_BYTES_MAX are not looked at: reading them would keep the process from
everybody else.
"""

from __future__ import annotations

import json

import msgspec

from ..job_json import Double, once_each
from .caller import Problem

LOOKED_BYTES_MAX = 64 << 10
_names_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_doubles(body: bytes) -> None:
    """Of a body that was decoded as an object. Raises: Problem 400."""
    if len(body) > LOOKED_BYTES_MAX or _has_plainly_none(body):
        return
    try:
        _read(body.decode())
    except Double as fault:
        raise Problem(400, "Bad Request", f"{fault.name[:100]!r} stands twice in one object of the body; leave one out") from None
    except (ValueError, RecursionError):
        pass  # a number or a text that this reader does not take and the decoder did


def _has_plainly_none(body: bytes) -> bool:
    """True is certain. Looks two levels deep; what is deeper, or has colons within its texts, is left to the reader."""
    names = _names_of(body)
    count = len(names)
    for raw in names.values():
        value = bytes(raw)
        if value.startswith(b"{"):
            count += len(_names_of(value))
    return body.count(b":") == count


_read = json.JSONDecoder(object_pairs_hook=once_each).decode
