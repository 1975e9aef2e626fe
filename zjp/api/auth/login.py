"""From a name and a password to a user, or to one and the same refusal.

Whatever is wrong (no such user, wrong password, a dev user where those do not count), as much is done for the answer, in the same order:
limits, one look at the user, one check of a hash. So neither its words nor its time tell which names exist.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ... import passwords
from ...errors import ZjpError
from ...wire.desk import NAME_CHARS_MAX, User
from ..table import Problem
from .hashing import Hashing
from .limits import LoginLimits, TooMany
from .users import Users

NOBODY = " "
"""The name of no user."""


class Login:
    def __init__(
        self, users: Users, hashing: Hashing, limits: LoginLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self._users, self._hashing, self._clock = users, hashing, clock

    async def user(self, name: str, password: str, address: str) -> User | None:
        """The user whose password it is. None: it is nobody's. Raises: Problem 429, 503; ZjpError when no node answers."""
        self._hashing.check_room()  # before it counts: what was not looked at is no failed attempt
        try:
            attempt = self.limits.begin(name[:NAME_CHARS_MAX], address, self._clock())
        except TooMany as refused:
            wait_s = max(1, math.ceil(refused.wait_s))
            raise Problem(
                429,
                "Too Many Requests",
                f"too many attempts; the next one counts in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            ) from None
        try:
            user = await self._checked(name, password)
        except (ZjpError, Problem):
            attempt.withdraw()  # nothing was learnt of the password
            raise
        if user is not None:
            attempt.succeeded(self._clock())
        return user

    async def _checked(self, name: str, password: str) -> User | None:
        is_fit = (
            0 < len(name) <= NAME_CHARS_MAX and len(password.encode("utf-8", "surrogatepass")) <= passwords.LENGTH_MAX
        )
        user = await self._users.look_up(name if is_fit else NOBODY)
        kept = user.hash if user is not None and user.hash else passwords.NOBODYS
        is_right = await self._hashing.check(kept, password if is_fit else "")
        return user if is_right and is_fit else None
