"""`python -m tests.cluster --algorithm all --kills 200 --zombies 200 [--report FILE]`: real nodes lose their leader; the judge speaks.

Linux and root for network namespaces; `--on-loopback` needs neither, and leaves the cuts and the loss out. Exit 0: all invariants held, all
times within their limits. 1: not so; logs are kept. 2: the run itself failed, or this machine cannot do it.
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

from tests.cluster import report
from tests.cluster.experiment import Outcome, Plan, run
from tests.cluster.netns import what_is_missing
from tests.cluster.stage import ALGORITHMS


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.delay_ms and not options.on_loopback:
        _parser().error("--delay-ms needs --on-loopback")
    if not options.on_loopback and (missing := what_is_missing()):
        print(f"{missing}; or --on-loopback", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    command = shlex.join(["python", "-m", "tests.cluster", *(sys.argv[1:] if arguments is None else arguments)])
    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    outcomes: list[Outcome] = []
    for algorithm in ALGORITHMS if options.algorithm == "all" else (options.algorithm,):
        try:
            outcomes.append(_run_one(algorithm, options))
        except Exception:
            traceback.print_exc()
            return 2
        if options.report is not None:
            options.report.write_text(report.markdown(outcomes, command, begun))
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def _run_one(algorithm: str, options: argparse.Namespace) -> Outcome:
    names = Plan.__dataclass_fields__.keys() - {"algorithm", "losses"}
    plan = Plan(algorithm=algorithm, losses=tuple(options.losses), **{name: getattr(options, name) for name in names})
    folder = Path(tempfile.mkdtemp(prefix=f"zjp-cluster-{algorithm}-"))
    outcome = run(plan, folder)
    told = [f"\n{algorithm}: {report.verdict(outcome)}", *report.table(outcome.seen), *outcome.broken, *outcome.missed]
    print("\n".join(told), flush=True)
    if outcome.is_good and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return outcome


def _parser() -> argparse.ArgumentParser:
    default = Plan(algorithm="raft")
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Real nodes lose their leader; the logs are judged.")
    parser.add_argument("--algorithm", choices=("all", *ALGORITHMS), default="all")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--kills", type=int, default=default.kills, help="SIGKILLs of the leader")
    parser.add_argument("--zombies", type=int, default=default.zombies, help="SIGSTOPs of the leader, which goes on when another leads")
    parser.add_argument("--stopped-s", type=float, default=default.stopped_s, help="every tenth of those lasts so long")
    parser.add_argument("--cuts", type=int, default=default.cuts, help="cuts of the leader: so many both ways, and each way alone")
    parser.add_argument("--follower-cuts", type=int, default=default.follower_cuts)
    parser.add_argument("--follower-cut-s", type=float, default=default.follower_cut_s)
    parser.add_argument("--losses", type=int, nargs="*", default=list(default.losses), metavar="PERCENT")
    parser.add_argument("--lose-s", type=float, default=default.lose_s, help="how long each loss lasts; 0: none")
    parser.add_argument("--load-s", type=float, default=default.load_s, help="kill leaders so long while jobs are submitted; 0: not")
    parser.add_argument("--load-every-s", type=float, default=default.load_every_s)
    parser.add_argument("--delay-ms", type=float, default=default.delay_ms, help="between nodes, by fault proxies; with --on-loopback")
    parser.add_argument("--timeout-s", type=float, default=default.timeout_s, help="ELECTION_TIMEOUT; 0: the default")
    parser.add_argument("--idle-s", type=float, default=default.idle_s, help="nothing is done for so long first")
    parser.add_argument("--on-loopback", action="store_true", help="no namespaces: kills and stops only")
    parser.add_argument("--report", type=Path, metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a good run too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
