"""Commands as bytes: redis-py packs those of asyncio connections in Python, argument by argument; hiredis does it 10 times faster."""

from __future__ import annotations

from typing import Any

import hiredis


class Packing:
    """In front of a connection class."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command(args)]
