"""How long things may take, in seconds, on a machine that does nothing else: what the cores say, with the settings' defaults."""

from __future__ import annotations

FAIL_OVER_P50_S = {"bully": 0.7, "raft": 0.7, "gossip": 3.0}
FAIL_OVER_S = {"bully": 1.1, "raft": 1.1, "gossip": 4.8}
"""p99. Gossip: gossip.py's worst case of three nodes."""
CUT_EXTRA_S = 0.3
"""In namespaces, and when silence is all that tells (no connection is reset)."""
GIVE_UP_S = {"bully": 0.6, "raft": 0.6, "gossip": 4.8}
"""T and a heartbeat: an isolated leader stops its duties. Gossip has no such promise; its worst case of noticing is taken."""
INTERVAL_S = {"bully": 0.1, "raft": 0.1, "gossip": 0.5}
"""The last heartbeat was so much earlier at most."""
LEADER_SHARE = 0.8
"""At 25 % loss there is a leader so much of the time."""
