"""`python -m tests.power [--cuts N] [--store sqlite|redis-always|redis-everysec|all] [--seed N] [--report FILE]`: power cuts, and what came
back. Needs Linux and root.

Exit 0: every promise was kept. Exit 1: not so; what was wrong is said. Exit 2: the run itself failed. Exit 69: this machine cannot do it.
`--store sqlite-normal` has a planted bug and must end with 1. `--sweep` only removes what killed runs left.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from pathlib import Path

from tests.power import report
from tests.power.experiment import Outcome, Plan, run
from tests.power.image import own_folder, sweep
from tests.power.stores import ALL, STORES, missing_for

EX_UNAVAILABLE = 69


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.sweep:
        print("\n".join(str(folder) for folder in sweep()) or "nothing was left")
        return 0
    stores = list(STORES) if options.store == "all" else [options.store]
    if missing := [said for said in map(missing_for, stores) if said]:
        print(missing[0], file=sys.stderr)
        return EX_UNAVAILABLE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        outcomes = [_one(Plan(store, options.cuts, options.seed)) for store in stores]
    except Exception:
        traceback.print_exc()
        return 2
    print(report.text(outcomes))
    if options.report is not None:
        options.report.write_text(report.markdown(outcomes))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def _one(plan: Plan) -> Outcome:
    with own_folder() as folder:
        return run(plan, folder, ALL[plan.store], tell=lambda line: print(line, flush=True))


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
