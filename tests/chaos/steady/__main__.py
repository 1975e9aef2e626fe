"""`python -m tests.chaos.steady [--algorithm all] [--rate 2000] [--seconds 300] [--report FILE]`: a mesh under a constant load.

The leader is killed every few seconds (--leader-kill-every), or Mongo goes away (--mongo-away-s), or both, one after the other. Exit 0: the
history is valid, no tick is missing or doubled, no record is lost or doubled, all times are within their limits. 1: not so; histories are
kept. 2: the run itself failed.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.steady import report
from tests.chaos.steady.experiment import Outcome, Plan, run
from tests.chaos.steady.verdict import faults_of
from tests.cluster.stage import ALGORITHMS


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    command = shlex.join(["python", "-m", "tests.chaos.steady", *(sys.argv[1:] if arguments is None else arguments)])
    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    outcomes: list[Outcome] = []
    for algorithm in ALGORITHMS if options.algorithm == "all" else (options.algorithm,):
        try:
            outcomes.append(_run_one(algorithm, options))
        except Exception:
            traceback.print_exc()
            return 2
        if options.report is not None:
            options.report.write_text(report.markdown(outcomes, command, begun, options.slack))
    return 1 if any(faults_of(outcome, options.slack) for outcome in outcomes) else 0


def _run_one(algorithm: str, options: argparse.Namespace) -> Outcome:
    names = Plan.__dataclass_fields__.keys() - {"algorithm"}
    plan = Plan(algorithm=algorithm, **{name: getattr(options, name) for name in names})
    folder = Path(tempfile.mkdtemp(prefix=f"zjp-steady-{algorithm}-"))
    print(f"{algorithm}: {folder}", flush=True)
    outcome = run(plan, folder)
    print(report.text(outcome, options.slack), flush=True)
    if faults_of(outcome, options.slack) or options.keep:
        print(f"kept: {folder}\njudge it again: python -m sims.checkers {folder / 'h'}")
    else:
        shutil.rmtree(folder)
    return outcome


def _parser() -> argparse.ArgumentParser:
    default = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.steady", description="A mesh under a constant load, hit and judged.")
    parser.add_argument("--algorithm", choices=("all", *ALGORITHMS), default="all")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--rate", type=float, default=default.rate, help="jobs a second")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="kill leaders for so long")
    parser.add_argument("--leader-kill-every", type=float, default=default.leader_kill_every_s, dest="leader_kill_every_s",
                        metavar="SECONDS", help="0: never")  # fmt: skip
    parser.add_argument("--mongo-away-s", type=float, default=default.mongo_away_s, help="once, for so long; 0: never")
    parser.add_argument("--effects-each", type=int, default=default.effects_each, help="one of so many jobs asks the sink; 0: none")
    parser.add_argument("--warm-up-s", type=float, default=default.warm_up_s)
    parser.add_argument("--seed", type=int, default=default.seed, help="of which results are asked for")
    parser.add_argument("--slack", type=float, default=1.0, help="factor on all limits in time, for a machine that is busy")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the outcome to this file, as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the histories also when all is well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
