"""Where schedules are kept: without a database."""

from dataclasses import replace
from datetime import datetime, timedelta

from server.jobs.model import StoreUnavailable
from server.schedules import edits
from server.schedules.model import Condition, Definition, PreconditionFailed, Schedule, ScheduleStore


class FakeScheduleStore(ScheduleStore):
    """Keeps schedules in memory, and the promises of the other store.

    Attributes:
        error: what each call fails with; None for none.
    """

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self._rows: dict[tuple[str, str], Schedule] = {}
        self._now = datetime(2026, 11, 25, 6)

    async def put(
        self, owner: str, name: str, definition: Definition, condition: Condition, timeout: float, dry_run: bool = False
    ) -> tuple[Schedule, bool]:
        found = self._found(owner, name, condition)
        if found is None:
            wanted = edits.created(owner, name, definition, self._moment())
        else:
            wanted = edits.edited(found, definition, self._moment())
        if not dry_run:
            self._rows[owner, name] = wanted
        return wanted, found is None

    async def get(self, owner: str, name: str, timeout: float) -> Schedule | None:
        return self._found(owner, name, lambda _: True)

    async def list(self, owner: str, timeout: float, *, limit: int, after: str | None) -> list[Schedule]:
        self._check()
        found = [row for key, row in sorted(self._rows.items()) if key[0] == owner and key[1] > (after or "")]
        return found[:limit]

    async def switch(
        self, owner: str, name: str, enabled: bool, condition: Condition, timeout: float
    ) -> Schedule | None:
        found = self._found(owner, name, condition)
        if found is None:
            return None
        self._rows[owner, name] = edits.edited(found, replace(found.definition, enabled=enabled), self._moment())
        return self._rows[owner, name]

    async def delete(self, owner: str, name: str, condition: Condition, timeout: float) -> bool:
        self._found(owner, name, condition)
        return self._rows.pop((owner, name), None) is not None

    def _found(self, owner: str, name: str, condition: Condition) -> Schedule | None:
        self._check()
        found = self._rows.get((owner, name))
        if not condition(found):
            raise PreconditionFailed
        return found

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _moment(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now
