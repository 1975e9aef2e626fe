"""`python -m tests.chaos [--kills N] [--node-kills N] [--seed N] [--report FILE] [--keep]`: a chaos run, and what the judge says.

Ends when so many kills have counted, or after --limit seconds. Exit 0: valid, nothing lost, no double effect, killed workers' jobs run
again in time, all kills counted. Exit 1: not so; the histories are kept. Exit 2: the run itself failed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos import report
from tests.chaos.experiment import Outcome, Plan, run
from tests.chaos.planted import STORES

SECONDS_PER_KILL, SECONDS_PER_NODE_KILL = 1.5, 8.0
"""When no --limit is given: about three times what they take."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    limit_s = options.limit or 60.0 + SECONDS_PER_KILL * options.kills + SECONDS_PER_NODE_KILL * (options.node_kills + options.drains)
    plan = Plan(
        kills=options.kills, node_kills=options.node_kills, drains=options.drains, others=options.others, clock_jumps=options.clock_jumps,
        seed=options.seed, store=options.store, limit_s=limit_s,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    folder = Path(tempfile.mkdtemp(prefix="zjp-chaos-"))
    try:
        outcome = run(plan, folder)
    except Exception:
        traceback.print_exc()
        print(f"the run failed; what there is: {folder}\nagain: {report.command(plan)}", file=sys.stderr)
        return 2
    return _tell(outcome, folder, report_path=options.report, keeps=options.keep)


def _tell(outcome: Outcome, folder: Path, *, report_path: Path | None, keeps: bool) -> int:
    print(report.text(outcome))
    is_good = not report.faults_of(outcome)
    if report_path is not None:
        report_path.write_text(report.markdown(outcome))
    if not is_good or keeps:
        print(f"kept: {folder}\njudge it again: python -m sims.checkers {folder / 'h'}\nrun it again: {report.command(outcome.plan)}")
    else:
        shutil.rmtree(folder)
    return 0 if is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill workers and the node, and judge the history.")
    parser.add_argument("--kills", type=int, default=60, help="kills of workers that must count")
    parser.add_argument("--node-kills", type=int, default=3, help="kills of the node that must count")
    parser.add_argument("--drains", type=int, default=1, help="SIGTERMs under load")
    parser.add_argument("--others", type=int, default=3, help="stops of node and workers, pauses of a queue")
    parser.add_argument("--clock-jumps", type=int, default=0, help="jumps of the wall clock (seen by a planted store only)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=list(STORES), default="", help="a store with a planted bug")
    parser.add_argument("--limit", type=float, help="seconds of faults at most")
    parser.add_argument("--report", type=Path, help="write the outcome to this file, as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the histories also when all is well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
