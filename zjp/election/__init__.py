"""Who leads: Bully, Raft and Gossip as pure cores behind one interface (core.py). No I/O, clock, randomness or logging in here."""
