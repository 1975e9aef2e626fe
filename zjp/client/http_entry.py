"""How an HTTP door shows who it is: a token that was given, or a login whose token is renewed in time.

A token is renewed when a fifth of its life is left, and at once when the API refuses it (it was ended by a change of password, or the node
that made it is gone). How long it lives is told by the answer alone, so a clock that is wrong here does no harm.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from ..errors import ConfigError
from .http_json import read, write
from .http_trip import HttpAnswer, HttpCall, error_of

RENEW_SHARE = 0.8
LIFE_S_LEAST = 1.0


class _Login(msgspec.Struct):
    token: str
    expires_at: datetime


class Entry:
    """`login`: (name, password)."""

    def __init__(self, token: str | None = None, login: tuple[str, str] | None = None) -> None:
        if token and login:
            raise ConfigError("token and login are both set; give one of them")
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise ConfigError("the token holds spaces or other signs that no token has; see how it was copied")
        self._token = token or ""
        self._login = login
        self._renew_at = 0.0

    def needs_login(self, now: float) -> bool:
        return self._login is not None and (not self._token or now >= self._renew_at)

    def login_call(self) -> HttpCall:
        assert self._login is not None
        name, password = self._login
        return HttpCall("POST", "/auth/login", body=write({"username": name, "password": password}))

    def take(self, answer: HttpAnswer, now: float) -> None:
        """The answer to `login_call`. Raises: ZjpError."""
        if answer.status != 200:
            raise error_of(answer)
        told = read(answer.body, _Login)
        life_s = (told.expires_at - _date_of(answer)).total_seconds()
        self._token, self._renew_at = told.token, now + RENEW_SHARE * max(LIFE_S_LEAST, life_s)

    def sign(self, call: HttpCall) -> HttpCall:
        if not self._token:
            return call
        return replace(call, headers={**call.headers, "Authorization": f"Bearer {self._token}"})

    def is_refused(self, call: HttpCall, answer: HttpAnswer) -> bool:
        """Whether to log in again and ask once more; forgets the token that was refused, unless there is a newer one."""
        if answer.status != 401 or self._login is None:
            return False
        if call.headers.get("Authorization") == f"Bearer {self._token}":
            self._token = ""
        return True


def _date_of(answer: HttpAnswer) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
