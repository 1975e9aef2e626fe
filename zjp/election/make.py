"""ELECTION_ALGORITHM -> the core that does it. Loaded on first use, so that a node imports only the one it runs."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from .core import Config, Core, Uniform

ALGORITHMS = ("bully", "raft", "gossip")


def make_core(algorithm: str, config: Config, uniform: Uniform) -> Core:
    """Raises: ValueError for a name that is none of ALGORITHMS."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"election algorithm is {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    made = getattr(import_module(f".{algorithm}", __package__), algorithm.capitalize())
    return cast(Core, made(config, uniform))
