"""Sends the messages that wake workers up, and knows which of them the broker has."""

import asyncio
import logging
from asyncio import Future
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from nowait.bridge import Call
from nowait.jobs.protocol import UNCONFIRMED
from server.bridge import Tasks
from server.jobs.decisions import Message
from server.jobs.model import Job

log = logging.getLogger(__name__)

_TASK = "task.run_job"
_LIFETIME = 3600.0  # seconds that a message may wait for a worker; long before, another one is sent


@dataclass(frozen=True)
class _Sent:
    message: Message
    call: Call
    answered: bool  # there is to be an answer of the worker

    @property
    def over(self) -> bool:
        """The job has gone on, or the message is lost: there is nothing to be noted."""
        call = self.call
        return call.done() and (not call.confirmed or self.answered and not call.cancelled() and not call.exception())


class TaskPublisher:
    """The Publisher of `server.jobs.model`, for the relay as well.

    Args:
        tasks: the bridge.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._sent: list[_Sent] = []

    @property
    def ready(self) -> bool:
        """True when messages are taken."""
        return self._tasks.state == "connected"

    def send(self, job: Job, wait: float | None = None) -> "Future[None] | None":
        """As `Publisher.send`."""
        if job.eta is not None and job.eta > job.created:
            return None
        call = self.publish(Message(job.id, job.attempt + 1, job.queue, job.traceparent), wait)
        if wait is None:
            return None
        end: Future[None] = asyncio.get_running_loop().create_future()
        call.add_done_callback(lambda _: _complete(end))
        return end

    def publish(self, message: Message, wait: float | None = None) -> Call:
        """Send a message; never blocks.

        Args:
            message: for a job in the database: committed before, as the worker may have it at once.
            wait: seconds for which the worker's answer is waited for; None to wait for the broker's confirm alone.

        Returns the call. That it fails is no news: the message is sent again.
        """
        sent = self._tasks.send_task(
            _TASK,
            [message.job_id, message.attempt],
            queue=message.queue,
            lifetime=_LIFETIME,
            timeout=UNCONFIRMED if wait is None else wait,
            ignore_result=wait is None,
            headers=None if message.traceparent is None else {"traceparent": message.traceparent},
        )
        sent.add_done_callback(lambda call: _note(message, call))
        self._sent.append(_Sent(message, sent, wait is not None))
        return sent

    def take_confirmed(self) -> dict[int, list[str]]:
        """What the broker has confirmed since this was called last: ids of jobs, by attempt."""
        confirmed: dict[int, list[str]] = defaultdict(list)
        under_way = []
        for sent in self._sent:
            if sent.over:
                continue
            if sent.call.confirmed:
                confirmed[sent.message.attempt].append(sent.message.job_id)
            else:
                under_way.append(sent)
        self._sent = under_way
        return confirmed


def _complete(end: "Future[None]") -> None:
    if not end.done():
        end.set_result(None)


def _note(message: Message, call: "Future[Any]") -> None:
    # An error that nobody looks at would be logged by the loop.
    if not call.cancelled() and (error := call.exception()):
        log.debug("attempt %d of job %s: %s: %s", message.attempt, message.job_id, type(error).__name__, error)
