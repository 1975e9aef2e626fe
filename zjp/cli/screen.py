"""How `zjp top` looks: a picture as tables that fit the terminal, whatever its size, and as plain lines. Knows nothing of nodes.

Everything that came from outside is cleaned and never read as markup. Each part of the screen gets the rows that it needs, or its share of
what there is; what does not fit is counted in its last row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..job import format_id
from ..wire.messages import QueueCount
from . import show
from .look import STATES, NodeRow, Picture, WorkerRow

WIDE_COLUMNS = 130
"""From here on two columns of tables."""
HEAD_LINES, FOOT_LINES = 2, 1
HEALTH_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "yellow"}
KEYS = "q quit   p pause"
Row = Sequence[Text]


class Part(NamedTuple):
    """A table. `head`: (title, is it a number)."""

    head: Sequence[tuple[str, bool]]
    rows: Sequence[Row]
    when_empty: str


def screen(
    picture: Picture | None, notice: str, console: Console, *, every_s: float, is_paused: bool
) -> RenderableType:
    """The whole of it. `notice`: what is wrong just now, empty: nothing."""
    width, height = console.size
    foot = _foot(notice, every_s, is_paused=is_paused)
    if picture is None:
        return Group(Text("zjp top", style="bold"), Text(""), foot)
    rows = height - HEAD_LINES - FOOT_LINES
    parts = parts_of(picture)
    if width >= WIDE_COLUMNS:
        sides = Table.grid(expand=True, padding=(0, 2))
        half = width // 2 - 2
        sides.add_column(width=half, no_wrap=True)
        sides.add_column(width=half, no_wrap=True)
        sides.add_row(*(Group(*_fitted(side, rows)) for side in ((parts[0], parts[3]), (parts[1], parts[2]))))
        return Group(*_head(picture), sides, foot)
    return Group(*_head(picture), *_fitted(parts, rows), foot)


def share(needs: Sequence[int], rows: int) -> list[int]:
    """Rows for each need, `rows` altogether at most: all where that fits, else equal shares, what one leaves over to the others."""
    given, left, order = [0] * len(needs), max(0, rows), sorted(range(len(needs)), key=lambda index: needs[index])
    for place, index in enumerate(order):
        given[index] = min(needs[index], left // (len(order) - place))
        left -= given[index]
    return given


def _fitted(parts: Sequence[Part], rows: int) -> Iterator[RenderableType]:
    parts = parts[: max(1, rows // 2)]  # each with a row at least, else not at all
    counts = share([max(1, len(part.rows)) for part in parts], rows - len(parts))
    for part, count in zip(parts, counts, strict=True):
        yield _table(part, count)


def _table(part: Part, count: int) -> Table:
    table = Table(
        box=None, pad_edge=False, expand=True, padding=(0, 1), header_style="bold reverse", collapse_padding=True
    )
    for index, (title, is_number) in enumerate(part.head):
        is_last = index == len(part.head) - 1
        table.add_column(
            title,
            justify="right" if is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if is_last else None,
        )
    hidden = len(part.rows) - count
    for row in part.rows[: max(0, count - 1) if hidden > 0 else count]:
        table.add_row(*row)
    if hidden > 0 and count:
        table.add_row(Text(f"and {hidden + 1} more", style="dim"))
    if not part.rows and count:
        table.add_row(Text(part.when_empty, style="dim"))
    return table


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parts_of(picture: Picture) -> tuple[Part, Part, Part, Part]:
    """Queues, nodes, workers, failures."""
    return _queues(picture.queues), _nodes(picture), _workers(picture.workers), _failures(picture)


def _queues(queues: Iterable[QueueCount]) -> Part:
    head = [("QUEUE", False), *((state.upper(), True) for state in STATES), ("OLDEST", True), ("", False)]
    busiest = sorted(queues, key=lambda count: (-(count.pending + count.running), count.queue))
    return Part(head, [_queue_row(count) for count in busiest], "no queue has jobs yet: zjp submit TYPE")


def _queue_row(count: QueueCount) -> Row:
    sizes = [_text(getattr(count, state)) for state in STATES]
    oldest = _text(show.age(count.oldest_s) if count.oldest_s else "-")
    return [_text(count.queue, "cyan"), *sizes, oldest, _text("paused", "yellow") if count.paused else Text("")]


def _nodes(picture: Picture) -> Part:
    head = [("NODE", False), ("ROLE", False), ("HEALTH", False), ("BUSY", True), ("UP", True), ("", False)]
    return Part(head, [_node_row(node, picture) for node in picture.nodes], "the node knows of no other")


def _node_row(node: NodeRow, picture: Picture) -> Row:
    busy = "-" if node.busy is None else f"{node.busy}/{node.slots}"
    up = "-" if node.uptime_s is None else show.age(node.uptime_s)
    note = Text("draining", style="yellow") if node.is_draining else Text("")
    name = _text(node.node, "bold cyan" if node.node == picture.leader else "cyan")
    return [
        name,
        _text(node.role),
        _text(node.health, HEALTH_STYLES.get(node.health, "")),
        _text(busy),
        _text(up),
        note,
    ]


def _workers(workers: Sequence[WorkerRow] | None) -> Part:
    head = [
        ("WORKER", False),
        ("PID", True),
        ("BUSY", True),
        ("DONE", True),
        ("FAILED", True),
        ("RSS", True),
        ("RUNS", False),
    ]
    if workers is None:
        return Part(head, [], "only an admin may see the workers")
    busiest = sorted(workers, key=lambda worker: (-worker.busy, worker.node, worker.name))
    return Part(
        head, [_worker_row(worker) for worker in busiest], "no worker process: start nodes with --app module:app"
    )


def _worker_row(worker: WorkerRow) -> Row:
    runs = ", ".join(f"{task} {job_id[:8]}" for task, job_id in worker.current)
    if worker.state != "ready":
        runs = worker.state
    return [
        _text(f"{worker.node}/{worker.name}", "cyan"), _text(worker.pid or "-"), _text(f"{worker.busy}/{worker.slots}"),
        _text(worker.done), _text(worker.failed, "red" if worker.failed else ""), _text(show.size(worker.rss_bytes)),
        _text(runs, "" if worker.state == "ready" else "yellow"),
    ]  # fmt: skip


def _failures(picture: Picture) -> Part:
    head = [("FAILED", False), ("TYPE", False), ("AGO", True), ("ERROR", False)]
    rows = []
    for view in picture.failures:
        error = f"{view.error.type}: {view.error.message}" if view.error is not None else "-"
        rows.append(
            [_text(format_id(view.id)[:8], "red"), _text(view.type), _text(show.ago(view.finished_ms)), _text(error)]
        )
    return Part(head, rows, "no job has failed")


def _head(picture: Picture) -> Iterator[Text]:
    line = Text("zjp top  ", style="bold", no_wrap=True, overflow="ellipsis")
    if picture.leader:
        line.append(show.clean(f"{picture.leader} leads, epoch {picture.epoch}"), "green")
    else:
        line.append("nobody leads", "red")
    line.append(f" ({show.clean(picture.algorithm)})", "default not bold")
    all_there = picture.alive_count == len(picture.nodes)
    line.append(f"  nodes {picture.alive_count}/{len(picture.nodes)}", "default not bold" if all_there else "red")
    busy, slots = picture.busy
    line.append(f"  slots {busy}/{slots}", "default not bold")
    if not picture.has_quorum and picture.leader:
        line.append("  no quorum", "red")
    if picture.is_draining:
        line.append(f"  {show.clean(picture.node)} drains", "yellow")
    yield line
    totals = "  ".join(f"{state} {count}" for state, count in picture.totals.items())
    rates = f"done {_rate(picture.done_per_s)}  failed {_rate(picture.failed_per_s)}"
    yield Text(f"{totals}  {rates}", no_wrap=True, overflow="ellipsis")


def _foot(notice: str, every_s: float, *, is_paused: bool) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    if notice:
        line.append(show.clean(notice), "bold red")
    elif is_paused:
        line.append("paused: p goes on   q quit", "bold yellow")
    else:
        line.append(f"{KEYS}   every {every_s:g}s", "dim")
    return line


def _rate(per_second: float | None) -> str:
    if per_second is None:
        return "-"
    return f"{per_second:.0f}/s" if per_second >= 10 or not per_second else f"{per_second:.2g}/s"


def _text(value: object, style: str = "") -> Text:
    return Text(show.clean(str(value)), style=style, no_wrap=True, overflow="ellipsis")


# ── without a terminal ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def line(picture: Picture) -> str:
    """One look in one line."""
    busy, slots = picture.busy
    told = {
        "leader": picture.leader or "none", "epoch": picture.epoch, "nodes": f"{picture.alive_count}/{len(picture.nodes)}",
        **picture.totals, "done": _rate(picture.done_per_s), "failed": _rate(picture.failed_per_s), "slots": f"{busy}/{slots}",
    }  # fmt: skip
    return show.clean(f"{clock(picture.at_ms)}  {'  '.join(f'{name} {value}' for name, value in told.items())}", 1000)


def clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000):%H:%M:%S}"


def plain(picture: Picture) -> Iterator[str]:
    """All of one look, as text."""
    yield line(picture)
    for part in parts_of(picture):
        yield ""
        titles = [title for title, _ in part.head]
        rows = [[cell.plain for cell in row] for row in part.rows]
        widths = [max(len(title), *(len(row[index]) for row in rows), 0) for index, title in enumerate(titles)]
        for row in [titles, *rows] if rows else [[part.when_empty]]:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
