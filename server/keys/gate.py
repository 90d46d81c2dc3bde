"""What stands between clients and routes: who they are, and how much of their limits is left."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from math import inf

from server.keys.client import Client, anybody
from server.keys.followers import Followers
from server.keys.keyring import BadKey, Keyring
from server.keys.pace import Pace
from server.keys.quota import Quota

_BEARER = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)
_MOST_HELD = 1000  # refusals that wait to be answered


class NoKey(Exception):
    """A key is expected."""


class NotBearer(BadKey):
    """The header has another scheme, or there are several of it."""

    def __init__(self) -> None:
        super().__init__(None, "not one bearer token")


class Gate:
    """The gate of one server process.

    Args:
        keyring: the keys; None where none are configured: all may do everything.
        processes: that share a key's limits.
        clock: gives the present moment.

    Attributes:
        keyring: as given; another one takes its place when the keys have changed.
        followers: those who stay for as long as their keys are valid.
    """

    def __init__(
        self,
        keyring: Keyring | None,
        processes: int = 1,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.keyring = keyring
        self.followers = Followers(self._lasts)
        self._processes = processes
        self._clock = clock
        self._quotas: dict[str, Quota] = {}
        self._anybody = anybody()
        self._pace = Pace()
        self._held = 0

    def client(self, authorization: Sequence[str]) -> Client:
        """Who sends these values of the header `Authorization`. Raises NoKey and BadKey,
        of which NotBearer is one."""
        if self.keyring is None:
            return self._anybody
        if not authorization:
            raise NoKey
        match = _BEARER.fullmatch(authorization[0])
        if len(authorization) > 1 or match is None:
            raise NotBearer
        now = self._clock()
        key = self.keyring.find(match[1], now)
        limits = self.keyring.limits(key, now).share(self._processes)
        quota = self._quotas.setdefault(key.name, Quota(limits))
        quota.limits = limits
        return Client(key.name, key.id, key.owner, key.scopes, quota)

    def knows(self, authorization: Sequence[str]) -> bool:
        """Does client() give somebody?"""
        try:
            self.client(authorization)
        except (NoKey, BadKey):
            return False
        return True

    @property
    def held(self) -> int:
        """Refusals that wait to be answered."""
        return self._held

    @property
    def needs_keys(self) -> bool:
        """Nobody may do anything without a key, but for what needs none."""
        return self.keyring is not None

    @property
    def anybody(self) -> Client:
        """Who asks for what needs no key."""
        return self._anybody

    def delay(self, who: str) -> float | None:
        """Seconds until somebody's refusal is to be answered; None when too many wait: the connection is to be ended.

        Args:
            who: the name of a client, or the address of one that has none.
        """
        delay = self._pace.delay(who, time.monotonic())
        return None if delay and self._held >= _MOST_HELD else delay

    @contextmanager
    def holding(self, delay: float | None) -> Iterator[float | None]:
        """While the block runs, a refusal waits for that; gives the delay."""
        self._held += bool(delay)
        try:
            yield delay
        finally:
            self._held -= bool(delay)

    def replace(self, keyring: Keyring) -> None:
        """The keys are others now: those whose key is gone follow nothing any more.

        Names that are gone are forgotten, unless something of theirs is under way.
        """
        self.keyring = keyring
        known = keyring.names
        self._quotas = {name: quota for name, quota in self._quotas.items() if name in known or not quota.idle}
        self.followers.look()

    def _lasts(self, client: Client) -> float:
        if self.keyring is None:
            return inf
        return self.keyring.lasts(client.key_id, client.owner, client.scopes, self._clock())
