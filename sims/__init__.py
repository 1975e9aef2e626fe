"""The judge: what happened is written down, and a checker says whether the promises held.

    lines, history   what a history says, how it is written and read
    sink             the outside world: takes each effect once, refuses stale fences
    witness          what a task under test writes down of its own run
    recording        a queue store that writes down all that is asked of it
    checkers/        the judge itself
    reference/       a small simulated queue that writes right histories
    mutants/         wrong histories, each with the check that must catch it
    proxy            a network that can be made bad on demand

And the simulator: `python -m sims` (__main__) runs the election cores in simulated clusters, decided by a seed (docs/simulator.md).

    election/        the cluster, its faults, what must hold, planted bugs, shrinking, the picture

It imports zjp (only `recording` and `election` do); zjp never imports it.
"""
