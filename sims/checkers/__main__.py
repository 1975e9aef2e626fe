"""`python -m sims.checkers [--json] FILES...`: judge histories (files, or folders of *.jsonl). Exit 0 valid, 1 invalid, 2 unreadable."""

from __future__ import annotations

import argparse
import sys

import msgspec

from ..history import HistoryDamaged, load
from . import Finding, Verdict, judge


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sims.checkers", description="Judge the history of an experiment.")
    parser.add_argument("paths", nargs="+", metavar="FILE", help="history file, or folder of *.jsonl")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args(arguments)
    try:
        history = load(options.paths)
    except (HistoryDamaged, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    verdict = judge(history)
    print(msgspec.json.encode(verdict).decode() if options.json else describe(verdict))
    return 0 if verdict.is_valid else 1


def describe(verdict: Verdict) -> str:
    """The verdict as plain text, one line per check."""
    lines = [_describe_finding(finding) for finding in verdict.findings]
    lines += [f"{name}: {value}" for name, value in verdict.counts.items()]
    for target, kills in verdict.kills.items():
        spread = ", ".join(f"{moment} {count}" for moment, count in kills.moments.items())
        lines.append(f"kills of {target}: {kills.total}, {kills.started} hit a started job ({spread})")
        lines.append(f"run again after kill of {target}: p50 {kills.rerun_p50_s:.3f} s, p99 {kills.rerun_p99_s:.3f} s")
    lines += [f"torn last line dropped: {path}" for path in verdict.torn]
    return "\n".join([*lines, "valid" if verdict.is_valid else "INVALID"])


def _describe_finding(finding: Finding) -> str:
    head = f"{finding.id:>3} {finding.name}: "
    if not finding.is_checked:
        return f"{head}not applicable, {finding.reason}"
    note = f" ({finding.reason})" if finding.reason else ""
    if not finding.violations:
        return f"{head}ok{note}"
    return "\n      ".join([f"{head}{finding.violations} VIOLATIONS of: {finding.sentence}{note}", *finding.examples])


if __name__ == "__main__":
    sys.exit(main())
