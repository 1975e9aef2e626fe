"""Faults for a cluster that runs: a node is killed, cut off, made deaf or mute, slowed down, and all of it is undone on exit.

    __main__.py   the commands          faults.py   what each does, and undoes
    ports.py      which process has which door and which connections; from /proc
    rules.py      the same as rules for nft
"""
