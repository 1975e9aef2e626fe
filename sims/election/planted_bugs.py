"""The planted bugs. The list of research: votes, logs, leases, grants, incarnations, tokens."""

from __future__ import annotations

from .planted import Planted

_BUGS: tuple[Planted, ...] = ()
PLANTED = {bug.name: bug for bug in _BUGS}
