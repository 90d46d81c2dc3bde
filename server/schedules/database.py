"""Where schedules are kept: the database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from nowait.jobs.protocol import NOW
from server.jobs.connections import DUPLICATE, Connections, error_number
from server.schedules import edits, rows
from server.schedules.model import Condition, Definition, PreconditionFailed, Schedule

Edit = Callable[[Schedule | None, datetime], Schedule | None]
"""What becomes of a schedule, None where there is none, at a moment."""


class DatabaseScheduleStore:
    """The ScheduleStore of `server.schedules.model`.

    Args:
        connections: to the database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def put(
        self, owner: str, name: str, definition: Definition, condition: Condition, timeout: float, dry_run: bool = False
    ) -> tuple[Schedule, bool]:
        """As `ScheduleStore.put`."""

        def edit(found: Schedule | None, now: datetime) -> Schedule:
            if found is None:
                return edits.created(owner, name, definition, now)
            return edits.edited(found, definition, now)

        before, after = await self._edit(owner, name, edit, condition, timeout, dry_run)
        assert after is not None
        return after, before is None

    async def get(self, owner: str, name: str, timeout: float) -> Schedule | None:
        """As `ScheduleStore.get`."""

        async def steps(connection: AsyncConnection) -> Schedule | None:
            return await _find(connection, owner, name)

        return await self._connections.transaction(steps, timeout)

    async def list(self, owner: str, timeout: float, *, limit: int, after: str | None) -> list[Schedule]:
        """As `ScheduleStore.list`."""
        statement = rows.listed(owner, limit, after)

        async def steps(connection: AsyncConnection) -> list[Schedule]:
            return [rows.schedule(row) for row in await connection.execute(statement)]

        return await self._connections.transaction(steps, timeout)

    async def switch(
        self, owner: str, name: str, enabled: bool, condition: Condition, timeout: float
    ) -> Schedule | None:
        """As `ScheduleStore.switch`."""

        def edit(found: Schedule | None, now: datetime) -> Schedule | None:
            return None if found is None else edits.edited(found, replace(found.definition, enabled=enabled), now)

        _, after = await self._edit(owner, name, edit, condition, timeout)
        return after

    async def delete(self, owner: str, name: str, condition: Condition, timeout: float) -> bool:
        """As `ScheduleStore.delete`."""
        before, _ = await self._edit(owner, name, lambda *_: None, condition, timeout)
        return before is not None

    async def _edit(
        self, owner: str, name: str, edit: Edit, condition: Condition, timeout: float, dry_run: bool = False
    ) -> tuple[Schedule | None, Schedule | None]:
        """What there was, and what there is. Raises PreconditionFailed, and what `edit` raises."""
        done: tuple[Schedule | None, Schedule | None] | None = None

        async def steps(connection: AsyncConnection) -> tuple[Schedule | None, Schedule | None]:
            nonlocal done
            found = await _find(connection, owner, name, lock=True)
            if done is not None and _edition(found) == _edition(done[1]):
                return done  # committed by these very steps before their connection was lost
            if not condition(found):
                raise PreconditionFailed
            # Read behind the lock: before it, a scheduler may have had a later moment.
            now: datetime = (await connection.execute(select(NOW))).scalar_one()
            wanted = edit(found, now)
            done = found, wanted
            if dry_run or wanted is found:
                return done
            if found is None:
                assert wanted is not None
                try:
                    await connection.execute(rows.insertion(wanted))
                except DBAPIError as error:
                    if error_number(error) != DUPLICATE:
                        raise
                    # Another request was faster: what it has made is there now.
                    done = None
                    return await steps(connection)
            elif wanted is None:
                await connection.execute(rows.deletion(owner, name))
            else:
                await connection.execute(rows.change(wanted))
            return done

        return await self._connections.transaction(steps, timeout)


async def _find(connection: AsyncConnection, owner: str, name: str, lock: bool = False) -> Schedule | None:
    row = (await connection.execute(rows.of_name(owner, name, lock))).one_or_none()
    return None if row is None else rows.schedule(row)


def _edition(schedule: Schedule | None) -> tuple[Any, ...] | None:
    return None if schedule is None else (schedule.created, schedule.version, schedule.definition)
