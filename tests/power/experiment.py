"""One run: a system on a disk of its own, whose power is cut at random moments, and what it remembers afterwards.

The disk is made new after every CUTS_PER_DISK cuts, so that some cuts meet the first seconds of a folder and some meet what earlier cuts
left. Between two cuts the system finishes all work; what it then says of each job must still hold after the next.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.image import Image
from tests.power.judge import Verdict, describe, judge
from tests.power.ledger import Ledger
from tests.power.system import LOSS_AGE_MAX_S, DoesNotStart, System
from zjp.wire.messages import Durability

IMAGE_BYTES = 384 << 20
CUTS_PER_DISK = 5
UNDER_LOAD_S = (0.2, 2.5)
"""The cut comes so long after the first request, at random."""
AT_START_SHARE = 0.3
"""Of cuts, after which the power goes once more, while the system starts: what recovery had begun must not make it worse."""
AT_START_S = (0.0, 1.5)
FINISH_LIMIT_S = 60.0
ASKERS_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    store: str
    cuts: int
    seed: int
    under_load_s: tuple[float, float] = UNDER_LOAD_S


@dataclass(slots=True)
class Outcome:
    plan: Plan
    level: Durability = Durability.PROCESS
    """What the system's acknowledgements said they are worth."""
    at_start: int = 0
    """Further cuts, while the system was starting after one."""
    verdicts: list[Verdict] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Sentences; empty: the promise was kept."""
    duration_s: float = 0.0


def run(plan: Plan, folder: Path, make_system: Callable[[Path], System], tell: Callable[[str], None] = print) -> Outcome:
    """`folder` from `image.own_folder`. Raises what is no fault of the system: CannotCut, an asker's own failure."""
    began = time.monotonic()
    draw = random.Random(f"{plan.store} {plan.seed}")
    outcome = Outcome(plan)
    for first in range(0, plan.cuts, CUTS_PER_DISK):
        part = folder / f"{plan.store}-{first}"
        part.mkdir()
        with Image(part, IMAGE_BYTES) as image:
            system = make_system(part / "s")
            try:
                _one_disk(outcome, image, system, draw, range(first, min(first + CUTS_PER_DISK, plan.cuts)), tell)
            finally:
                system.die()
    outcome.duration_s = time.monotonic() - began
    return outcome


def _one_disk(
    outcome: Outcome, image: Image, system: System, draw: random.Random, cuts: range, tell: Callable[[str], None]
) -> None:
    (image.mount.parent / "s").mkdir(exist_ok=True)
    ledger = Ledger(image.mount.parent / "h.jsonl")
    try:
        system.start(image.mount)
        outcome.level = system.level()
        for number in cuts:
            cut_ns = _cut_under_load(system, image, ledger, f"{outcome.plan.seed} {number}", draw.uniform(*outcome.plan.under_load_s))
            image.mount_again()
            if draw.random() < AT_START_SHARE:
                outcome.at_start += 1
                _cut_at_start(system, image, draw.uniform(*AT_START_S))
            verdict, wrong = _look_after(system, image, ledger, cut_ns)
            wrong = [f"cut {number + 1}: {one}" for one in (*verdict.wrong, *wrong)]
            outcome.verdicts.append(verdict)
            outcome.wrong += wrong
            tell(f"{outcome.plan.store} cut {number + 1}: {describe(verdict)}")
            for one in wrong:
                tell(f"WRONG: {one}")
        _stop(outcome, system, image)
    except DoesNotStart as fault:
        outcome.wrong.append(f"it does not start: {fault}")
        tell(f"WRONG: {fault}")
    finally:
        ledger.close()


def _cut_under_load(system: System, image: Image, ledger: Ledger, seed: str, after_s: float) -> int:
    askers = system.askers(ledger, seed)
    for asker in askers:
        asker.start()
    threading.Event().wait(after_s)
    cut_ns = image.cut(system.strike)
    system.die()
    for asker in askers:
        asker.ends.set()
    ledger.cuts(cut_ns)
    for asker in askers:
        asker.join(ASKERS_LIMIT_S)
        if asker.failure is not None:
            raise asker.failure
        assert not asker.is_alive(), "an asker did not end in time"
    return cut_ns


def _cut_at_start(system: System, image: Image, after_s: float) -> None:
    """Raises: DoesNotStart."""
    system.begin(image.mount)
    threading.Event().wait(after_s)
    image.cut(system.strike)
    system.die()
    image.mount_again()


def _look_after(system: System, image: Image, ledger: Ledger, cut_ns: int) -> tuple[Verdict, list[str]]:
    """Raises: DoesNotStart."""
    corrupt = system.check(image.mount)
    system.start(image.mount)
    account = ledger.account()
    first = system.look(account.jobs)
    wrong = system.say_again(ledger)
    is_new = ledger.acknowledged.keys() - account.acknowledged.keys()
    try:
        system.finish_all([*first, *(is_new - first.keys())], FINISH_LIMIT_S)
    except TimeoutError as fault:
        wrong.append(f"work was not finished: {fault}")
    last = system.look(list({**first, **ledger.acknowledged}))
    ledger.starts_over(last)
    return judge(account, cut_ns, first, last, loss_age_max_s=LOSS_AGE_MAX_S[system.level()], corrupt=corrupt), wrong


def _stop(outcome: Outcome, system: System, image: Image) -> None:
    """In order, and look once more at the files."""
    outcome.wrong += system.stop()
    outcome.wrong += [f"corrupt after a stop in order: {said}" for said in system.check(image.mount)]
