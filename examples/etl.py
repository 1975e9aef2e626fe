"""Load a day of orders into a database so that each day counts once, whatever happens.

    python -m examples.etl

zjp runs a job at least once: a worker may die, or lose its lease and not know it, after it has written and before
it has said so. Then the job runs again, perhaps while the first run still does. Two things make that harmless:

    unique_key   while a day is being loaded, another submit for it gives the job that is there
    ctx.fence    rises with every claim of a job. The sink keeps the highest it has seen for each day, and refuses
                 whoever comes with a lower one, in the same transaction as the rows: a run that was overtaken
                 cannot undo the newer one's work
"""

from __future__ import annotations

import csv
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from examples.local_node import local_node
from zjp import App, Context, Discard

app = App()

DAYS = [f"2024-03-{day:02}" for day in range(1, 8)]
SCHEMA = """
CREATE TABLE fences (day TEXT PRIMARY KEY, fence INTEGER NOT NULL);
CREATE TABLE revenue (day TEXT, country TEXT, cents INTEGER, PRIMARY KEY (day, country));
"""


class Overtaken(Discard):
    """A newer claim of the job has written already; this run's result counts for nothing."""


def load(sink: sqlite3.Connection, day: str, fence: int, revenue: Iterable[tuple[str, int]]) -> None:
    """Replace the day, unless someone with a higher fence was here. Raises: Overtaken."""
    with sink:
        sink.execute("BEGIN IMMEDIATE")
        taken = sink.execute(
            "INSERT INTO fences VALUES (?, ?) ON CONFLICT (day) DO UPDATE SET fence = excluded.fence WHERE excluded.fence >= fence",
            [day, fence],
        )
        if taken.rowcount == 0:
            raise Overtaken(f"{day}: fence {fence} is lower than the one seen")
        sink.execute("DELETE FROM revenue WHERE day = ?", [day])
        sink.executemany("INSERT INTO revenue VALUES (?, ?, ?)", [(day, country, cents) for country, cents in revenue])


@app.task("load_day", max_retries=3, timeout="1m")
def load_day(ctx: Context, day: str, source: str, sink: str) -> int:
    """How many orders the day had."""
    revenue: dict[str, int] = {}
    orders = 0
    with Path(source, f"{day}.csv").open(newline="") as file:
        for order in csv.DictReader(file):
            orders += 1
            country = order["country"].strip().upper() or "??"
            revenue[country] = revenue.get(country, 0) + round(float(order["amount"]) * 100)
    with closing(sqlite3.connect(sink, timeout=10, isolation_level=None)) as connection:
        load(connection, day, ctx.fence, revenue.items())
    return orders


def write_orders(folder: Path) -> int:
    """A file per day; the sum of all amounts in cents."""
    generator, total = random.Random(3), 0
    for day in DAYS:
        amounts = [generator.randrange(100, 10_000) for _ in range(200)]
        total += sum(amounts)
        rows = [
            f"{number},{generator.choice([' de', 'FR', 'it ', ''])},{cents / 100:.2f}"
            for number, cents in enumerate(amounts)
        ]
        (folder / f"{day}.csv").write_text("\n".join(["order,country,amount", *rows]))
    return total


def revenue_of(sink: sqlite3.Connection) -> int:
    return int(sink.execute("SELECT coalesce(sum(cents), 0) FROM revenue").fetchone()[0])


def main() -> int:
    with tempfile.TemporaryDirectory() as name, local_node("examples.etl:app") as zjp:
        folder, path = Path(name), str(Path(name, "sink.db"))
        total = write_orders(folder)
        with closing(sqlite3.connect(path, isolation_level=None)) as sink:
            sink.executescript(SCHEMA)
            payloads = {day: {"day": day, "source": name, "sink": path} for day in DAYS}
            zjp.pause("default")  # so that the second submits surely come while the first are waiting
            jobs = [zjp.submit("load_day", payload, unique_key=f"load:{day}") for day, payload in payloads.items()]
            again = [zjp.submit("load_day", payload, unique_key=f"load:{day}") for day, payload in payloads.items()]
            zjp.resume("default")
            is_same = [job.id for job in jobs] == [job.id for job in again] and all(job.existed for job in again)
            orders = sum(job.result for job in zjp.wait(jobs, timeout=60))
            loaded = revenue_of(sink)

            fences = dict(sink.execute("SELECT day, fence FROM fences"))
            for job in jobs:
                job.retry()  # loads everything a second time
            zjp.wait(jobs, timeout=60)
            reloaded = revenue_of(sink)
            try:
                load(sink, DAYS[0], fences[DAYS[0]], [("XX", 1)])  # what a worker that was overtaken would do
                is_refused = False
            except Overtaken as refusal:
                is_refused = str(refusal) != ""
    print(
        f"{orders} orders of {len(DAYS)} days loaded; submitting each day twice made {len({job.id for job in jobs + again})} jobs"
    )
    print(f"revenue {loaded / 100:.2f}, loaded again {reloaded / 100:.2f}, expected {total / 100:.2f}")
    print(f"a run with an older fence was {'refused' if is_refused else 'NOT refused'}")
    return 0 if is_same and is_refused and loaded == reloaded == total and orders == 200 * len(DAYS) else 1


if __name__ == "__main__":
    sys.exit(main())
