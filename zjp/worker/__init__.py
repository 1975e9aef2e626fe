"""Runs jobs: the pool in the node and the process it starts; both sides of one process boundary."""
