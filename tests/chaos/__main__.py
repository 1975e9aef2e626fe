"""`python -m tests.chaos [--kills N] [--node-kills N] [--seed N] [--report FILE] [--keep]`: a chaos run, and what the judge says.

With `--queue redis [--nodes 3] [--records mongo]` several nodes share a queue, and the servers that they share fail as well.

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

from tests.chaos import planted, planted_redis, report
from tests.chaos.experiment import Outcome, Plan, run
from tests.chaos.nemesis import CALM_SHARE

SECONDS_PER_KILL, SECONDS_PER_NODE_KILL, SECONDS_PER_REDIS_KILL, SECONDS_PER_ZOMBIE = 1.5, 8.0, 6.0, 20.0
"""When no --limit is given: about three times what they take."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.queue == "sqlite" and (options.nodes > 1 or options.records):
        _parser().error("several nodes, or records elsewhere, need --queue redis")
    if options.store not in (planted_redis if options.queue == "redis" else planted).STORES:
        _parser().error(f"--store {options.store} is no store of --queue {options.queue}")
    plan = plan_of(options)
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


def plan_of(options: argparse.Namespace) -> Plan:
    """What the command line does not name is as the plan has it."""
    named = {name: value for name, value in vars(options).items() if name in Plan.__dataclass_fields__}
    return Plan(**named, limit_s=options.limit or _limit_s(options))


def _limit_s(options: argparse.Namespace) -> float:
    seconds = 60.0 + SECONDS_PER_KILL * options.kills + SECONDS_PER_NODE_KILL * (options.node_kills + options.drains)
    seconds += SECONDS_PER_REDIS_KILL * (options.redis_kills + options.resets) + SECONDS_PER_ZOMBIE * options.zombies
    return seconds + 2 * (options.redis_stops * options.redis_stop_s + options.mongo_outages * options.mongo_away_s)


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
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill workers, nodes and servers, and judge the history.")
    parser.add_argument("--kills", type=int, default=60, help="kills of workers that must count")
    parser.add_argument("--node-kills", type=int, default=3, help="kills of the node that must count")
    parser.add_argument("--drains", type=int, default=1, help="SIGTERMs under load")
    parser.add_argument("--others", type=int, default=3, help="stops of node and workers, pauses of a queue")
    parser.add_argument("--clock-jumps", type=int, default=0, help="jumps of the wall clock (seen by a planted store only)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--queue", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--records", choices=("", "mongo"), default="", help="where, if not where the queue is")
    parser.add_argument("--redis-kills", type=int, default=0)
    parser.add_argument("--redis-stops", type=int, default=0, help="SIGSTOPs of Redis")
    parser.add_argument("--redis-stop-s", type=float, default=30.0, help="seconds of each")
    parser.add_argument("--resets", type=int, default=0, help="resets of all connections between nodes and Redis")
    parser.add_argument("--zombies", type=int, default=0, help="nodes stopped past their lease that must bring something late")
    parser.add_argument("--mongo-outages", type=int, default=0)
    parser.add_argument("--mongo-away-s", type=float, default=60.0, help="seconds of each")
    parser.add_argument("--calm-share", type=float, default=CALM_SHARE, help="of the workers' kills, which measure recovery")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=sorted({*planted.STORES, *planted_redis.STORES}), default="", help="a store with a planted bug")
    parser.add_argument("--limit", type=float, help="seconds of faults at most")
    parser.add_argument("--report", type=Path, help="write the outcome to this file, as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the histories also when all is well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
