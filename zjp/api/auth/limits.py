"""How often somebody may try a password: per account and per address, in bounded memory. Takes the time from its caller.

    begin(name, address, now)  ──►  Attempt: the password may be looked at      attempt.succeeded(now), or nothing: it counts as failed
                               └──►  TooMany(wait_s): it is not looked at, whether it was right or not

An attempt counts from its begin, so a thousand at once are no way around the limit. What is counted, over a sliding window:

    account, by strangers    7 in 15 min   after the third with growing pauses: 1 s, 2 s, 4 s ...
    account, by friends      3 in 15 min   a friend is an address from which this account has logged in before
    address, as a stranger  30 in 1 h      over all accounts

So at most 10 passwords are tried against an account in 15 minutes, and whoever guesses at it cannot lock its owner out: strangers do not
use up what is kept for the owner's addresses. Names of no user are counted like any other: the answer tells nothing.

Every table has a limit. Friends are made by right passwords only. When more accounts are under attack than the table holds, further ones
share one count, so that a flood of names makes nobody's guesses free; addresses are forgotten oldest first, since accounts still count.
Lives in one process: a restart forgets, and each node counts for itself (docs/security.md says so, and why).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

WINDOW_S = 900.0
STRANGERS_MAX, FRIENDS_MAX = 7, 3
FREE_COUNT, PAUSE_S, PAUSE_S_MAX = 3, 1.0, 60.0
ADDRESS_WINDOW_S, ADDRESS_MAX = 3600.0, 30
ACCOUNTS_MAX = ADDRESSES_MAX = FRIENDSHIPS_MAX = 20_000
"""Passwords are checked at less than 100 a second, each for tens of milliseconds; this many accounts are attacked in one window only by a
flood that fills the checking itself."""
OVERFLOW = "\x00"
"""The account that all share when there are too many."""

Times = list[float]
"""Oldest first. No deque: an empty one takes 600 bytes, and there are many short ones."""


class TooMany(Exception):
    """Nothing is tried; asking again makes sense after `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"the next attempt counts in {wait_s:.0f} s")
        self.wait_s = wait_s


class Attempt:
    """One password that may be looked at. Unless `succeeded` is called, it has failed."""

    __slots__ = ("_at", "_counts", "_friendship", "_limits")

    def __init__(self, limits: LoginLimits, friendship: tuple[str, str], at: float, counts: tuple[Times, ...]) -> None:
        self._limits, self._friendship, self._at, self._counts = limits, friendship, at, counts

    def withdraw(self) -> None:
        """It was not looked at after all."""
        for times in self._counts:
            if self._at in times:
                times.remove(self._at)

    def succeeded(self, now: float) -> None:
        self.withdraw()
        self._limits.befriend(self._friendship, now)


class LoginLimits:
    def __init__(self) -> None:
        self._strangers: OrderedDict[str, Times] = OrderedDict()
        self._friends: OrderedDict[str, Times] = OrderedDict()
        self._addresses: OrderedDict[str, Times] = OrderedDict()
        self._friendships: OrderedDict[tuple[str, str], float] = OrderedDict()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Accounts as strangers have tried them, and as friends have, addresses, friendships."""
        return len(self._strangers), len(self._friends), len(self._addresses), len(self._friendships)

    def begin(self, name: str, address: str, now: float) -> Attempt:
        """`now`: monotonic seconds. Raises: TooMany."""
        source = source_of(address)
        counts = self._as_friend(name, source, now) or self._as_stranger(name, source, now)
        for times in counts:
            times.append(now)
        return Attempt(self, (name, source), now, counts)

    def befriend(self, friendship: tuple[str, str], now: float) -> None:
        self._friendships[friendship] = now
        self._friendships.move_to_end(friendship)
        while len(self._friendships) > FRIENDSHIPS_MAX:
            self._friendships.popitem(last=False)

    def forget(self, name: str) -> None:
        """The account is gone, or has another password: whoever knew the old one is no friend any more."""
        for friendship in [friendship for friendship in self._friendships if friendship[0] == name]:
            del self._friendships[friendship]

    def _as_friend(self, name: str, source: str, now: float) -> tuple[Times, ...]:
        """Empty for who is none, and for one that has used up what friends have: it goes on as a stranger."""
        if (name, source) not in self._friendships:
            return ()
        times = _times(self._friends, name, now, WINDOW_S, ACCOUNTS_MAX)
        return (times,) if len(times) < FRIENDS_MAX else ()

    def _as_stranger(self, name: str, source: str, now: float) -> tuple[Times, Times]:
        account = _times(self._strangers, name, now, WINDOW_S, ACCOUNTS_MAX)
        _check(account, now, STRANGERS_MAX, WINDOW_S)
        _check_pause(account, now)
        known = self._addresses.get(source)
        if known is not None:
            _drop_old(known, now, ADDRESS_WINDOW_S)
            _check(known, now, ADDRESS_MAX, ADDRESS_WINDOW_S)
        return account, self._address(source)

    def _address(self, source: str) -> Times:
        times = self._addresses.pop(source, None)
        if times is None:
            times = []
            while len(self._addresses) >= ADDRESSES_MAX:
                self._addresses.popitem(last=False)
        self._addresses[source] = times
        return times


def source_of(address: str) -> str:
    """What one person has many of counts as one: of an IPv6 address the first 64 bits."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _times(table: OrderedDict[str, Times], name: str, now: float, window_s: float, most: int) -> Times:
    """Of that account, made when there is none, without what is too old. The table's order is that of its last look."""
    times = table.get(name)
    if times is None:
        _make_room(table, now, window_s, most)
        name = name if len(table) < most or name in table else OVERFLOW
        times = table.setdefault(name, [])
    table.move_to_end(name)
    _drop_old(times, now, window_s)
    return times


def _make_room(table: OrderedDict[str, Times], now: float, window_s: float, most: int) -> None:
    """Forget, from the oldest on, those that have nothing left to count. A few per call are enough: a call adds one."""
    for _ in range(4):
        if len(table) < most // 2:
            return
        name, times = next(iter(table.items()))
        _drop_old(times, now, window_s)
        if times:
            return
        del table[name]


def _drop_old(times: Times, now: float, window_s: float) -> None:
    while times and times[0] <= now - window_s:
        del times[0]


def _check(times: Times, now: float, most: int, window_s: float) -> None:
    if len(times) >= most:
        raise TooMany(times[0] + window_s - now)


def _check_pause(times: Times, now: float) -> None:
    count = len(times) - FREE_COUNT
    if count < 0:
        return
    pause_s = min(PAUSE_S * 2.0**count, PAUSE_S_MAX)
    if now < times[-1] + pause_s:
        raise TooMany(times[-1] + pause_s - now)
