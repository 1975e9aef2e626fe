"""What must hold, whatever happens. Checked at each event, only for what the event touched; names as in docs/simulator.md.

    watch     for all algorithms: C1-C3, C6-C8, office, tokens; E1-E4: a core that breaks the interface
    raft      R1-R7, R9, R10, RL2, and C4 for its promises        lease    how long a leader may lead without its quorum
    bully     B1-B3, C4                                           gossip   G1-G5, C4
    calm      after the healing: RL1, BL1, BL2, GL1-GL3, C6

Cores are looked at from outside: what they hand to the disk, what leaves, what they show. C4 (nothing said depends on what a crash would
take back) is a shadow crash at every message: it is compared with what the durable records alone say.
"""
