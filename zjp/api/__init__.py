"""The HTTP door: a process of its own, and a client of its node like any other."""
