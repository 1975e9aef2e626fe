"""The simulator: the election cores in a cluster that one seed decides, with every fault a network, a disk, a clock and a store have.

    shape      how many nodes, their settings, the network's usual quality
    cluster    the heap of events; drives cores as zjp/election/core.py says           node      what it keeps of one
    network    links: loss, delay, doubles, cuts, one-way cuts      clock     rate and jumps of a node's own clock
    disk       what is synced, what a crash leaves of the rest      store     the leadership as the product's store keeps it, duties
    faults     profiles; the schedule drawn from the seed           acts      what each fault does
    strays     words that nobody of the cluster would say
    calm       the healing, and what must come after it             invariants/  what must hold at every event
    run        a case and its outcome                               trace, plot  the text and the picture
    fuzz       many cases                                           shrink    the fewest faults that still fail
    planted    cores with one line changed                          planted_bugs, planted_early  which lines

Determinism: times are ints, every purpose has its own random.Random made of the seed, nothing iterates over a set, nothing reads the
clock, the environment or an address. `python -m sims run` therefore prints the same bytes anywhere.
"""
