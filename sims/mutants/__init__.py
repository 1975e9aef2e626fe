"""Planted bugs: each takes a right history and makes it wrong in one way, and names the check that must catch it.

A checker nobody has seen fail proves nothing. These are bugs of histories; that real bugs of the product (fence off, acknowledged before
the run, lease by wall clock) leave such histories is shown by the chaos tests.
"""

from __future__ import annotations

from . import claims, ends, order, submits
from .plant import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "claims", "ends", "order", "submits"]
