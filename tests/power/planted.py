"""The node with a planted bug: its queue does not wait for the disk (`synchronous=NORMAL`), though its acknowledgements say `disk`.

What a program sees is the same, also after kill -9; only a power cut tells the difference.
"""

from __future__ import annotations

import zjp.queue.sqlite
from zjp.node.__main__ import main
from zjp.queue.database import Database, open_database


def open_hasty(path: str) -> Database:
    database = open_database(path)
    database.execute("PRAGMA synchronous=NORMAL")
    return database


if __name__ == "__main__":
    setattr(zjp.queue.sqlite, "open_database", open_hasty)  # noqa: B010 - the queue has no other door for its database
    main()
