"""Transcripts: text commands to the bench, and beneath each what came of it. `transcripts/<algorithm>_<what>.txt` are compared by a test.

    python -m tests.election.transcript              runs all and tells which differ
    python -m tests.election.transcript --write      runs all and writes what comes of them

In a file, `> ` begins a command, `#` a comment; the other lines are output. `quiet` before a command hides its output. Commands:

    cluster a b c            first of all; `a:10` is a with priority 10; then voters=a,b expected=3 timeout=500ms interval=100ms lead_for=2s
    start a b | start all    a new life from what is on the disk         crash a     what is not synced is lost
    wipe a                   empty the folder (crash first)              rewrite a   the driver's compaction
    meet a b | meet all      both are told of each other                 miss a b    a is told that b is gone
    wake a                   go to the time it waits for, wake only it   tick 100ms  let time pass, wake who is due
    run 2s                   tick, and deliver everything at once        uniform a 0.5   what a's random numbers are from now on
    deliver all | a b | b    everything and what follows; what flies now from a to b; or to b. Also: drop, duplicate
    reverse                  the newest message comes first              bag         show what flies
    cut a b | cut a          both ways; from everyone                    cut a > b   one way
    heal | heal a b          all cuts; one
    hold disk a, persist a, free disk a                                  hold store, answer store, free store
    store silent, store back, store set 7 x:1 2s, store show
    say a b Vote term=5 last_index=1 last_term=1                         a message that no core sent
    transfer a b | transfer a, leave a, stall a 300ms                    the driver's other events
    show a | show all        views                                       disk a      the records that are durable
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec

from tests.election.bench import Bench, text
from zjp.election.core import MS, SECOND, Leave, Stall, Time, Transfer
from zjp.wire import peers

FOLDER = Path(__file__).parent / "transcripts"
UNITS = {"ms": MS, "s": SECOND}


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


def played(path: Path) -> str:
    """The file's commands and comments with what comes of them now."""
    stage = Stage(path.stem.partition("_")[0])
    return "".join(f"{line}\n" for line in _played(stage, path.read_text().splitlines()))


def _played(stage: Stage, lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("> "):
            yield line
            yield from stage.do(line[2:])
        elif not line or line.startswith("#"):
            yield line


class Stage:
    """Turns commands into calls of the bench."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._bench = Bench(algorithm, {})

    def do(self, command: str) -> list[str]:
        """One command's output."""
        is_quiet = command.startswith("quiet ")
        verb, *words = command.removeprefix("quiet ").split()
        self._bench.lines.clear()
        getattr(self, f"do_{verb}")(*words)
        return [] if is_quiet else list(self._bench.lines)

    def _each(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._bench.nodes) if names == ("all",) else names

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def do_cluster(self, *words: str) -> None:
        options = dict(word.split("=") for word in words if "=" in word)
        names = (word.partition(":") for word in words if "=" not in word)
        self._bench = Bench(
            self._algorithm,
            {name: int(priority or 0) for name, _, priority in names},
            voters=tuple(options["voters"].split(",")) if "voters" in options else None,
            expected=int(options.get("expected", 0)),
            **{name: lapse(options[name]) for name in ("timeout", "interval", "lead_for") if name in options},
        )

    def do_start(self, *names: str) -> None:
        for name in self._each(names):
            self._bench.start(name)

    def do_crash(self, *names: str) -> None:
        for name in self._each(names):
            self._bench.crash(name)

    def do_wipe(self, name: str) -> None:
        self._bench.wipe(name)

    def do_rewrite(self, name: str) -> None:
        self._bench.rewrite(name)

    def do_meet(self, *names: str) -> None:
        for name, peer in product(self._each(names), repeat=2):
            if name != peer:
                self._bench.meet(name, peer)

    def do_miss(self, name: str, peer: str) -> None:
        self._bench.meet(name, peer, is_up=False)

    def do_uniform(self, name: str, value: str) -> None:
        number = float(value)
        self._bench.nodes[name].uniform = lambda: number

    # ── time and messages ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def do_wake(self, name: str) -> None:
        self._bench.wake(name)

    def do_tick(self, word: str) -> None:
        self._bench.tick(lapse(word))

    def do_run(self, word: str) -> None:
        self._bench.tick(lapse(word), is_delivering=True)

    def do_deliver(self, *names: str) -> None:
        self._bench.deliver(*ends(names))

    def do_drop(self, *names: str) -> None:
        self._bench.drop(*ends(names))

    def do_duplicate(self, *names: str) -> None:
        self._bench.duplicate(*ends(names))

    def do_reverse(self) -> None:
        self._bench.reverse()

    def do_bag(self) -> None:
        self._bench.lines += [f"{flying.src} {flying.to} {text(flying.message)}" for flying in self._bench.bag]

    def do_say(self, src: str, to: str, kind: str, *words: str) -> None:
        fields = dict(word.split("=", 1) for word in words)
        self._bench.say(src, to, made(kind, fields))

    def do_cut(self, *names: str) -> None:
        self._bench.cuts |= self._pairs(names)

    def do_heal(self, *names: str) -> None:
        self._bench.cuts -= self._pairs(names) if names else set(self._bench.cuts)

    def _pairs(self, names: tuple[str, ...]) -> set[tuple[str, str]]:
        if len(names) == 3:
            return {(names[0], names[2])}
        others = names[1:] or tuple(self._bench.nodes)
        return {pair for other in others for pair in ((names[0], other), (other, names[0]))}

    # ── disk, store, the driver's other events ───────────────────────────────────────────────────────────────────────────────────

    def do_hold(self, what: str, name: str = "") -> None:
        self._hold(what, name, is_held=True)

    def do_free(self, what: str, name: str = "") -> None:
        self._hold(what, name, is_held=False)

    def _hold(self, what: str, name: str, *, is_held: bool) -> None:
        if what == "store":
            self._bench.store.is_held = is_held
            self._bench.answer()
        else:
            self._bench.nodes[name].is_held = is_held
            if not is_held:
                self._bench.persist(name)

    def do_persist(self, name: str) -> None:
        self._bench.persist(name)

    def do_answer(self, _store: str) -> None:
        self._bench.answer()

    def do_store(self, what: str, epoch: str = "", owner: str = "", left: str = "0s") -> None:
        store = self._bench.store
        if what == "show":
            self._bench.lines.append(
                f"{store.epoch} {store.owner}, {max(0, store.until - self._bench.now) // MS} ms left"
            )
        elif what == "set":
            store.epoch, store.owner, store.until = int(epoch), owner, self._bench.now + lapse(left)
        else:
            store.is_silent = what == "silent"

    def do_transfer(self, name: str, to: str = "") -> None:
        self._bench.step(name, Transfer(to))

    def do_leave(self, name: str) -> None:
        self._bench.step(name, Leave())

    def do_stall(self, name: str, lag: str) -> None:
        self._bench.now += lapse(lag)
        self._bench.step(name, Stall(lapse(lag)))

    # ── what is to be seen ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def do_show(self, *names: str) -> None:
        self._bench.lines += [self._shown(name) for name in self._each(names)]

    def _shown(self, name: str) -> str:
        core = self._bench.nodes[name].core
        if core is None:
            return f"{name}: down"
        view = core.view()
        facts = [f"{view.role.value} in {view.epoch} of {view.leader or 'nobody'}"]
        facts += ["in office"] if view.is_in_office else []
        facts += [] if view.has_quorum else ["no quorum"]
        facts += [f"{peer} {member.health.value}" for peer, member in sorted(view.members.items())]
        return f"{name}: {', '.join(facts)}"

    def do_disk(self, name: str) -> None:
        self._bench.lines.append(self._bench.records(name))


def ends(names: tuple[str, ...]) -> tuple[str, str]:
    """(src, to) of `all`, `b` (to b) and `a b`; empty: any."""
    if names == ("all",):
        return "", ""
    return (names[0], names[1]) if len(names) == 2 else ("", names[0])


def lapse(word: str) -> Time:
    """`300ms`, `2s`."""
    unit = "ms" if word.endswith("ms") else "s"
    return round(float(word.removesuffix(unit)) * UNITS[unit])


def made(kind: str, words: dict[str, str]) -> peers.PeerMessage:
    """`Append`, {"term": "5", "entries": '[[1,5]]'}: numbers, truth values and lists as JSON, other words are texts."""
    struct = getattr(peers, kind)
    names, defaults = struct.__struct_fields__, struct.__struct_defaults__
    values = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)) | {
        name: _value(word) for name, word in words.items()
    }
    message: peers.PeerMessage = msgspec.convert(
        [struct.__struct_config__.tag, *(values[name] for name in names)], struct
    )
    return message


def _value(word: str) -> object:
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        return word


def main() -> None:
    for path in paths():
        now = played(path)
        if now != path.read_text():
            print(f"{path.name} differs")
            if "--write" in sys.argv:
                path.write_text(now)


if __name__ == "__main__":
    main()
