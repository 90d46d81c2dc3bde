"""Server, relay and workers of jobs in one process, step by step: a broker alone is missing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import func

import tests.faults.jobs.functions  # noqa: F401  its jobs are registered
from nowait.jobs.ids import new_id
from nowait.jobs.protocol import NOW
from nowait.jobs.retry import Retry
from nowait.jobs.table import jobs
from nowait.testing import FakeBridge
from server.jobs.connections import Connections
from server.jobs.database import DatabaseStore
from server.jobs.model import NewJob
from server.jobs.publisher import TaskPublisher
from server.jobs.relay import Relay
from server.settings import Settings
from tasks.database import transaction
from tasks.jobs import steps
from tasks.jobs.attempt import Attempt
from tasks.jobs.registry import Definition, registry
from tasks.jobs.steps import Claim
from tasks.jobs.transaction import make_jobs_engine
from tests.faults.jobs.invariants import Answers
from tests.faults.jobs.zombie import Zombie

QUEUE = "queries.jobs"


class Held(Zombie):
    """A zombie that is held up before it ends, until `go_on` is set.

    Attributes:
        at_its_end: it is held up.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.at_its_end = threading.Event()
        self.go_on = threading.Event()

    def haunt(self) -> None:
        self._hold()
        super().haunt()

    def _hold(self) -> None:
        self.at_its_end.set()
        assert self.go_on.wait(60)


class Late(Held):
    """The same, and it does not wait for the loss of its job, and writes nothing before its end."""

    def haunt(self) -> None:
        self._hold()


class Scene:
    """All that takes part.

    Args:
        url: of a database with an empty table of jobs, and its journal.

    Attributes:
        answers: what clients know.
        bridge: takes the messages.
    """

    def __init__(self, url: str) -> None:
        self.answers = Answers()
        self.bridge = FakeBridge({}, queues=[QUEUE])
        self.connections = Connections(url)
        self.publisher = TaskPublisher(self.bridge)
        self.store = DatabaseStore(self.connections, 1000)
        self.relay = Relay(self.connections, self.publisher, Settings().retention, lambda: None)
        self.steps_engine = steps.make_steps_engine(url)
        self.jobs_engine = make_jobs_engine(url)
        self._delivered = 0

    async def close(self) -> None:
        """Close its connections."""
        await self.connections.close()
        self.steps_engine.dispose()
        self.jobs_engine.dispose()

    def job(self, fits: Callable[[str], bool] = lambda job_id: True, failing: float = 0.0, retries: int = 0) -> NewJob:
        """A new job of an id that fits."""
        job_id = next(job_id for job_id in iter(new_id, "") if fits(job_id))
        parameters = {"seconds": 0, "failing": failing}
        return NewJob(job_id, "", "test.effect", QUEUE, parameters, Retry(max_retries=retries, backoff=0.0))

    async def post(self, new: NewJob) -> str:
        """What a server does for a client: the job is kept, then sent."""
        job, _ = await self.store.add(new, 10.0)
        self.publisher.send(job)
        self.answers.ids[job.id] = job.id
        return job.id

    def claim(self, job_id: str, number: int) -> Claim | None:
        """The first step of a worker."""
        return steps.claim(self.steps_engine, job_id, number, "a worker")

    def attempt(
        self, job_id: str, number: int, kind: Callable[..., Attempt] = Attempt, definition: Definition | None = None
    ) -> Any:
        """An attempt that is claimed."""
        claim = self.claim(job_id, number)
        assert claim is not None
        return kind(self.steps_engine, self.jobs_engine, claim, definition or registry.find("test.effect"))

    def lapse(self, job_id: str) -> None:
        """Time passes: the job is due, and may begin."""
        passed = jobs.update().where(jobs.c.id == job_id).values(due=NOW, eta=func.least(jobs.c.eta, NOW))
        with transaction(self.steps_engine) as connection:
            assert connection.execute(passed).rowcount == 1

    async def look(self) -> None:
        """The relay looks at the jobs that are due."""
        while not await self.relay._look():
            pass

    async def deliver(self) -> bool:
        """A worker gets all messages that are there; False for none."""
        messages = self.bridge.sent[self._delivered :]
        self._delivered += len(messages)
        for _, (job_id, number), _ in messages:
            claim = await asyncio.to_thread(self.claim, job_id, number)
            if claim is not None:
                attempt = Attempt(self.steps_engine, self.jobs_engine, claim, registry.find(claim.name))
                await asyncio.to_thread(attempt.run)
        return bool(messages)

    async def settle(self) -> None:
        """Relay and worker go on until there is nothing to be done."""
        await self.look()
        while await self.deliver():
            await self.look()
