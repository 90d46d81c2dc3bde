"""What an observer of a bridge gets to know of its calls."""

from contextvars import ContextVar

import pytest
from celery import Celery

from nowait.bridge import Bridge
from nowait.bridge.observer import Stages
from nowait.errors import BridgeError, DeadlineExceeded, OutcomeUnknown
from tests.bridge.conftest import QUEUE, running, until


def test_the_stages_of_a_call_add_up_to_its_time() -> None:
    assert Stages.of(10.0, 10.5, 14.0, 2.0, 0.25) == Stages(confirm=0.5, queue=1.75, run=2.0, reply=0.25)


def test_a_confirm_behind_the_answer_leaves_no_stage_below_zero() -> None:
    assert Stages.of(10.0, 14.5, 14.0, 3.75, 0.5) == Stages(confirm=4.5, queue=0.0, run=3.75, reply=0.25)


@pytest.mark.parametrize(("reply", "found"), [(-3.0, 0.0), (99.0, 4.0), (None, None)])
def test_the_clock_of_another_host_makes_no_stage_longer_than_there_was_time(
    reply: float | None, found: float | None
) -> None:
    stages = Stages.of(10.0, 11.0, 15.0, 1.0, reply)
    assert stages.reply == found
    assert (stages.queue or 0.0) + (stages.reply or 0.0) == 4.0


def test_a_task_whose_worker_does_not_say_how_long_it_ran_has_a_confirm_alone() -> None:
    assert Stages.of(1.0, 1.5, 3.0, None, None) == Stages(confirm=0.5)


class Seen:
    """An observer that keeps what it sees."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, str]] = []
        self.stages: list[Stages] = []

    def ended(self, name: str | None, error: BaseException | None, stages: Stages) -> None:
        self.calls.append((name, type(error).__name__))
        self.stages.append(stages)


@pytest.mark.gen_test
async def test_each_call_is_seen_once_whatever_becomes_of_it(broker_url: str) -> None:
    seen = Seen()
    async with running(broker_url, observer=seen) as bridge:
        assert await bridge.send_task("test.echo", [1], queue=QUEUE) == 1
        await bridge.send_task("test.echo", [1], queue=QUEUE, ignore_result=True)
        await bridge.publish(QUEUE, b"[]", message_id="one")
        for task, queue, timeout in (("test.echo", "nowhere", 5), ("test.fail", QUEUE, 5), ("test.echo", QUEUE, 0)):
            with pytest.raises(BridgeError):
                await bridge.send_task(task, [1], queue=queue, timeout=timeout)
        call = bridge.send_task("test.sleep", [1], queue=QUEUE)
        await until(lambda: call.confirmed)
        assert call.cancel() and not call.cancel()
        last = bridge.send_task("test.sleep", [1], queue=QUEUE)
    assert isinstance(last.exception(), OutcomeUnknown)
    assert seen.calls == [
        ("test.echo", "NoneType"), ("test.echo", "NoneType"), (None, "NoneType"), ("test.echo", "Unroutable"),
        ("test.fail", "TaskFailed"), ("test.echo", "DeadlineExceeded"), ("test.sleep", "CancelledError"),
        ("test.sleep", "OutcomeUnknown"),
    ]  # fmt: skip
    # A stock worker says nothing of its time.
    assert all(stages.run is stages.queue is stages.reply is None for stages in seen.stages)
    # Answers may come before confirms.
    assert all(stages.confirm is not None for stages in seen.stages[1:3])
    assert seen.stages[5] == Stages()


@pytest.mark.gen_test
async def test_the_end_of_its_time_is_in_no_callers_context(broker_url: str) -> None:
    caller, contexts = ContextVar("caller", default="nobody"), []

    class Looking:
        def ended(self, name: str | None, error: BaseException | None, stages: Stages) -> None:
            contexts.append((name, type(error).__name__, caller.get()))

    async with running(broker_url, observer=Looking()) as bridge:
        caller.set("the first")
        # Before the next probe is due, which has a timer already.
        call = bridge.send_task("test.sleep", [5], queue=QUEUE, timeout=0.05)
        with pytest.raises(DeadlineExceeded):
            await call
    assert contexts == [("test.sleep", "DeadlineExceeded", "nobody")]


@pytest.mark.gen_test
async def test_a_call_that_is_not_sent_is_seen() -> None:
    seen = Seen()
    bridge = Bridge(Celery("server", broker="amqp://127.0.0.1:1//", set_as_current=False), observer=seen)
    call = bridge.send_task("test.echo", queue=QUEUE)
    assert type(call.exception()).__name__ == "Stopped"
    assert (seen.calls, seen.stages) == ([("test.echo", "Stopped")], [Stages()])
    await bridge.stop()
