"""`python -m tests.power [--cuts N] [--store NAME|all] [--seed N] [--report FILE]`: power cuts, and what came
back. Needs Linux and root.

Exit 0: every promise was kept, every planted bug seen. Exit 1: not so; what was wrong is said. Exit 2: the run itself
failed. Exit 69: this machine cannot do it.
`sqlite-normal` has a planted bug, which must be seen; it is part of `all`. `--sweep` only removes what killed runs left.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.power import report
from tests.power.experiment import Outcome, Plan, run
from tests.power.image import own_folder, sweep
from tests.power.stores import ALL, PLANTED_STORES, STORES, missing_for

EX_UNAVAILABLE = 69
PLANTED_CUTS = 5
"""It is caught at the first."""
KEPT_PREFIX = "zjp-kept-power-"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.sweep:
        print("\n".join(str(folder) for folder in sweep()) or "nothing was left")
        return 0
    plans = _plans(options)
    if missing := [said for said in (missing_for(plan.store) for plan in plans) if said]:
        print(missing[0], file=sys.stderr)
        return EX_UNAVAILABLE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    report.commit()  # now, not when the run ends
    try:
        outcomes = [_one(plan) for plan in plans]
    except Exception:
        traceback.print_exc()
        return 2
    print(report.text(outcomes))
    if options.report is not None:
        command = f"python -m tests.power --store {options.store} --cuts {options.cuts} --seed {options.seed}"
        options.report.write_text(report.markdown(outcomes, command))
    return 0 if all(map(report.is_good, outcomes)) else 1


def _plans(options: argparse.Namespace) -> list[Plan]:
    if options.store != "all":
        return [Plan(options.store, options.cuts, options.seed)]
    planted = [Plan(store, min(options.cuts, PLANTED_CUTS), options.seed) for store in PLANTED_STORES]
    return [Plan(store, options.cuts, options.seed) for store in STORES] + planted


def _one(plan: Plan) -> Outcome:
    with own_folder() as folder:
        outcome = run(plan, folder, ALL[plan.store], tell=lambda line: print(line, flush=True))
        if not report.is_good(outcome):
            kept = Path(tempfile.mkdtemp(prefix=KEPT_PREFIX))
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            print(f"kept: {kept} (histories and logs; the disks are gone)")
        return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description="Cut the power under load, and judge what comes back.")
    parser.add_argument("--cuts", type=int, default=20, help="of each store")
    parser.add_argument("--store", choices=[*ALL, "all"], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the outcome to this file, as Markdown")
    parser.add_argument("--sweep", action="store_true", help="only remove what killed runs left")
    return parser


if __name__ == "__main__":
    sys.exit(main())
