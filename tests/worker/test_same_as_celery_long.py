"""As test_same_as_celery: what a user sees of workers that end, lose their broker, or have settings of their own.

Each line has its own workers.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery import chord
from kombu import Exchange

from deploy.local.broker import Broker
from deploy.local.process import free_port
from tests.conftest import Start
from tests.worker import test_same_as_celery as short
from tests.worker.queues import QUEUE
from tests.worker.side import HOSTNAME, Side, eventually

SIDES = {"Celery's": {"test_consumer": short.CELERYS}, "ours": {"test_consumer": short.OURS}}
OPTIONS = "-P threads -c 2"


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        sees: what is to be seen of each side.
        scenario: the function that looks.
        options: of `celery worker`.
        settings: of Side; "{folder}" and "{broker}" are put in.
        environment: variables of the worker.
    """

    sees: dict[str, Any]
    scenario: short.Scenario
    options: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str]


TABLE: list[Line] = []


def differs(
    celerys: Any, ours: Any, options: str = OPTIONS, environment: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[short.Scenario], short.Scenario]:
    """A line of what differs on purpose."""

    def add(scenario: short.Scenario) -> short.Scenario:
        sees = dict(zip(SIDES, (celerys, ours), strict=True))
        TABLE.append(Line(sees, scenario, options, settings, environment or {}))
        return scenario

    return add


def line(
    sees: Any, options: str = OPTIONS, environment: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[short.Scenario], short.Scenario]:
    """A line of what is the same."""
    return differs(sees, sees, options, environment, **settings)


def busy(side: Side, waiting: int = 0) -> list[Any]:
    """Two tasks that run until "gate" is released, acknowledged early and late, and more that wait for them."""
    results = [side.send("hold", "gate", task_id="early"), side.send("hold_late", "gate", task_id="late")]
    for result in results:
        side.noted(result.id, "run")
    for number in range(waiting):
        side.send("note", task_id=f"waiting-{number}")
        side.arrived(f"waiting-{number}")
    return results


def begun(side: Side) -> list[str]:
    """The tasks that waited, and ran."""
    return [note["id"] for note in side.notes(kind="run") if note["id"].startswith("waiting-")]


def life(side: Side) -> list[Any]:
    """The signals of the worker's life, with what they carry."""
    return [
        (note["kind"], *(note[name] for name in ("sig", "how", "exitcode") if name in note))
        for note in side.notes()
        if note["kind"].startswith("worker_")
    ]


START = [("worker_init",), ("worker_ready",)]


# The end of a worker.


@line(
    {
        "life": [*START, ("worker_shutting_down", "SIGTERM", "Warm", 0), ("worker_shutdown",)],
        "outcomes": [("SUCCESS", "gate"), ("SUCCESS", "gate")], "status": 0, "ran or left": 3, "steps": 1,
        "said": True, "offline": 1,
    },
)  # fmt: skip
def a_warm_shutdown(side: Side) -> Any:
    results = busy(side, waiting=3)
    side.process.terminate()
    side.noted(None, "worker_shutting_down")
    side.release("gate")
    outcomes = [side.outcome(result) for result in results]
    status = side.ended()
    return {
        "life": life(side), "outcomes": outcomes, "status": status,
        # They may have begun before the worker has closed its pool.
        "ran or left": len(begun(side)) + side.left(3 - len(begun(side))),
        "steps": len(side.notes(kind="step stopped")),
        "said": "worker: Warm shutdown (MainProcess)" in side.log("shutdown"),
        "offline": len([event for event in side.events(None, "worker-offline") if event["type"] == "worker-offline"]),
    }  # fmt: skip


@differs(0, 3)
def what_a_warm_shutdown_gives_back_while_tasks_still_run(side: Side) -> Any:
    busy(side, waiting=3)
    side.process.terminate()
    side.noted(None, "step stopped")
    return side.left(3)


@line(
    {
        "life": [*START, ("worker_shutting_down", "SIGINT", "Warm", 1), ("worker_shutdown",)],
        "outcomes": [("SUCCESS", "gate"), ("SUCCESS", "gate")], "status": 1,
    }
)  # fmt: skip
def an_interrupt(side: Side) -> Any:
    results = busy(side)
    side.process.signal(signal.SIGINT)
    side.noted(None, "worker_shutting_down")
    side.release("gate")
    return {"outcomes": [side.outcome(result) for result in results], "status": side.ended(), "life": life(side)}


@line({"status": 0, "outcome": ("SUCCESS", "gate"), "ran or left": 1}, "-P solo")
def a_warm_shutdown_of_the_pool_solo(side: Side) -> Any:
    result = side.send("hold", "gate", task_id="early")
    side.noted("early", "run")
    side.send("note", task_id="waiting-0")
    side.process.terminate()
    side.noted(None, "worker_shutting_down")
    side.release("gate")
    status, outcome = side.ended(), side.outcome(result)
    return {"status": status, "outcome": outcome, "ran or left": len(begun(side)) + side.left(1 - len(begun(side)))}


@line({"life": [*START, ("worker_shutting_down", "SIGQUIT", "Cold", 1)], "status": 0, "said": True})
def a_cold_shutdown(side: Side) -> Any:
    side.process.signal(signal.SIGQUIT)
    return {
        "status": side.ended(), "life": life(side),
        "said": "worker: Cold shutdown (MainProcess)" in side.log("shutdown"),
    }  # fmt: skip


@line(["task-received", "task-started", "task-succeeded"], events=True)
def events_of_a_task_that_ends_after_the_signal(side: Side) -> Any:
    side.send("hold", "gate", task_id="last")
    side.events("last", "task-started")
    side.process.terminate()
    side.log("Warm shutdown", "Warm shutdown")
    side.release("gate")
    side.ended()
    return [event["type"] for event in side.events("last")]


# Whether Celery's worker still acknowledges both depends on the moment at which its process ends.
@line({"status": 1, "ended": 2, "said": True})
def a_cold_shutdown_while_tasks_run(side: Side) -> Any:
    busy(side)
    side.process.signal(signal.SIGQUIT)
    side.noted(None, "step stopped")
    side.release("gate")
    return {
        "status": side.ended(), "ended": len(side.notes(kind="end")),
        "said": bool(side.log("Unrecoverable error: NotImplementedError")),
    }  # fmt: skip


SOFT = {
    "outcomes": [("SUCCESS", "gate"), ("SUCCESS", "gate")], "status": 0, "left": 0, "began": ["waiting-0"],
    "said": ["Initiating Soft Shutdown, terminating in 3 seconds"],
}  # fmt: skip


@line(SOFT, conf={"worker_soft_shutdown_timeout": 3})
def a_soft_shutdown(side: Side) -> Any:
    return soft(side, signal.SIGQUIT)


@line(SOFT, conf={"worker_soft_shutdown_timeout": 3}, environment={"REMAP_SIGTERM": "SIGQUIT"})
def a_soft_shutdown_by_another_signal(side: Side) -> Any:
    return soft(side, signal.SIGTERM)


def soft(side: Side, number: int) -> Any:
    results = busy(side, waiting=1)
    side.process.signal(number)
    said = side.log("Initiating Soft Shutdown", "Soft")
    side.release("gate")
    outcomes = [side.outcome(result) for result in results]
    return {
        "outcomes": outcomes, "status": side.ended(), "left": side.left(3), "began": begun(side),
        "said": [line.partition("] ")[2] for line in said],
    }  # fmt: skip


@line({"answer": None, "status": 0, "life": [*START, ("worker_shutdown",)], "outcomes": [("SUCCESS", "gate")] * 2})
def a_shutdown_from_afar(side: Side) -> Any:
    results = busy(side)
    answer = side.app.control.broadcast("shutdown", destination=[HOSTNAME])
    side.log("Got shutdown from remote", "remote")
    side.release("gate")
    outcomes = [side.outcome(result) for result in results]
    return {"answer": answer, "status": side.ended(), "life": life(side), "outcomes": outcomes}


@line({"early": [False], "late": [False, True], "outcome": ("SUCCESS", "gate")})
def a_worker_that_is_killed(side: Side) -> Any:
    _, late = busy(side)
    side.process.kill()
    side.restart()
    side.noted("late", "run", 2)
    side.release("gate")
    outcome = side.outcome(late)
    side.settle()
    runs = {name: [run["redelivered"] for run in side.notes(name, "run")] for name in ("early", "late")}
    return {**runs, "outcome": outcome}


@line({"outcome": ("REVOKED", "TaskRevokedError('revoked')"), "revoked": ["remembered"]}, "-P solo -S {folder}/state")
def revocations_that_outlive_a_worker(side: Side) -> Any:
    side.control("revoke", task_id="remembered")
    side.process.terminate()
    side.ended()
    side.restart()
    return {"outcome": side.outcome(side.send("add", 1, 2, task_id="remembered")), "revoked": side.inspect("revoked")}


# What a task may do to its worker.


# Celery's callers wait for ever.
@differs({"states": [], "status": None}, {"states": ["FAILURE"], "status": None})
def a_task_that_raises_system_exit(side: Side) -> Any:
    side.send("exit", 3, task_id="exit")
    side.noted("exit", "prerun")
    return {"states": [state for state, _ in side.replies("exit")], "status": side.process.returncode}


# A broker that goes away.


@line({"runs": [False], "outcome": ("SUCCESS", "gate"), "scheduled": {"scheduled"}, "step": (2, 1), "life": START})
def a_connection_that_the_broker_closes(side: Side) -> Any:
    result = side.send("hold", "gate", task_id="early")
    side.noted("early", "run")
    side.send("note", task_id="scheduled", countdown=600)
    side.arrived("scheduled")
    side.cut()
    side.noted(None, "step started", 2)
    side.arrived("scheduled", 2)
    side.release("gate")
    outcome = side.outcome(result)
    side.settle()
    return {
        "runs": [run["redelivered"] for run in side.notes("early", "run")], "outcome": outcome,
        "scheduled": {entry["request"]["id"] for entry in side.inspect("scheduled")},
        "step": (len(side.notes(kind="step started")), len(side.notes(kind="step stopped"))), "life": life(side),
    }  # fmt: skip


@line({"runs": [False, True], "outcome": ("SUCCESS", "gate")})
def a_connection_that_the_broker_closes_before_an_acknowledgement(side: Side) -> Any:
    result = side.send("hold_late", "gate", task_id="late")
    side.noted("late", "run")
    side.cut()
    side.noted("late", "run", 2)
    side.release("gate")
    return {"outcome": side.outcome(result), "runs": [run["redelivered"] for run in side.notes("late", "run")]}


@line(("SUCCESS", 3), broker_url="amqp://127.0.0.1:{port};{broker}")
def a_broker_whose_first_address_is_dead(side: Side) -> Any:
    return side.outcome(side.send("add", 1, 2))


# Queues of other types.


@line(
    {
        "result": ("SUCCESS", 3), "failure": ("FAILURE", "LookupError('a')"), "early": False,
        "states": [("RETRY", "LookupError('again')"), ("SUCCESS", 1)], "requeued": [False, True],
        "fetched": {"active": 2, "reserved": 4, "left": 1}, "rejected": "rejected",
    },
    queue_type="quorum",
    threads=2,
)  # fmt: skip
def quorum_queues(side: Side) -> Any:
    seen: dict[str, Any] = {"result": side.outcome(side.send("add", 1, 2))}
    seen["failure"] = side.outcome(side.send("fail", "a"))
    eta = time.time() + 1
    side.outcome(side.send("note", task_id="countdown", countdown=1))
    seen["early"] = side.notes("countdown", "run")[0]["at"] < eta
    with short.one_at_a_time(side):
        seen["states"] = side.states(side.send("retry", 1, 1))
    side.outcome(side.send("reject", True, task_id="requeued"))
    seen["requeued"] = [run["redelivered"] for run in side.notes("requeued", "run")]
    seen["fetched"] = short.messages_that_are_fetched(side)
    side.send("fail_unacknowledged", task_id="rejected")
    seen["rejected"] = side.letter()[1].headers["id"]
    return seen


@line(("SUCCESS", 3), conf={"worker_direct": True})
def a_queue_of_the_workers_own(side: Side) -> Any:
    direct = Exchange("C.dq2")
    return side.outcome(side.send("add", 1, 2, exchange=direct, routing_key=HOSTNAME))


# Settings.


@line({"chord": 15, "group": [3, 5, 7]}, test_backend="file://{folder}", backend="file://{folder}")
def a_chord(side: Side) -> Any:
    members = [side.app.signature("test.add", (number, number + 1)) for number in (1, 2, 3)]
    body = side.app.signature("test.sum")
    result = chord(members, body, app=side.app).apply_async()
    found = result.get(timeout=60)
    return {"chord": found, "group": sorted(result.parent.get(timeout=30))}


@line(
    {
        "answers": [
            {"ok": "task events enabled"}, {"ok": "task events already enabled"}, {"ok": "task events disabled"},
            {"ok": "task events already disabled"},
        ],
        "off": [], "on": ["task-received", "task-started", "task-succeeded"], "off again": [], "worker": True,
    },
)  # fmt: skip
def events_that_are_turned_on_and_off(side: Side) -> Any:
    def types(task_id: str) -> list[str]:
        side.send("add", 1, 2, task_id=task_id)
        side.noted(task_id, "postrun")
        side.settle()
        return [event["type"] for event in side.events(task_id)]

    seen: dict[str, Any] = {"off": types("off")}
    answers = [side.control("enable_events"), side.control("enable_events")]
    side.send("add", 1, 2, task_id="on")
    seen["on"] = [event["type"] for event in side.events("on", "task-succeeded")]
    answers += [side.control("disable_events"), side.control("disable_events")]
    seen["off again"] = types("off again")
    return {**seen, "answers": answers, "worker": bool(side.events(None, "worker-heartbeat"))}


@line([("SUCCESS", 2), ("SUCCESS", 1.2), ("SUCCESS", 2)], f"{OPTIONS} --time-limit 1 --max-tasks-per-child 1")
def options_that_the_pool_does_not_know(side: Side) -> Any:
    return [side.outcome(side.send(*task)) for task in [("add", 1, 1), ("sleep", 1.2), ("add", 1, 1)]]


@line(
    {
        "ping": (0, True), "status": (0, True), "active": (0, True), "control": (0, True), "nobody": (69, True),
    },
    "-P solo",
)  # fmt: skip
def the_command_line(side: Side) -> Any:
    commands = {
        "ping": ("inspect ping", "pong"),
        "status": ("status", "1 node online"),
        "active": ("inspect active", "- empty -"),
        "control": ("control rate_limit test.add 10/s", "new rate limit set successfully"),
        "nobody": ("inspect ping -d nobody@tests", "No nodes replied"),
    }
    seen = {}
    for name, (command, text) in commands.items():
        status, printed = side.command(command)
        seen[name] = (status, text in printed)
    return seen


@line({"started": 0, "outcome": ("SUCCESS", 3), "stopped": 0, "pid file": False, "log": True})
def a_worker_that_celery_multi_starts(side: Side) -> Any:
    side.process.terminate()
    side.ended()
    files = f"--pidfile={side.folder}/multi.pid --logfile={side.folder}/multi.log"
    worker = f"{HOSTNAME} -A tests.worker.promises -l INFO -Q {QUEUE} {OPTIONS} {files}"
    started, _ = side.command(f"multi start {worker}", app=False)
    try:
        outcome = side.outcome(side.send("add", 1, 2))
    finally:
        stopped, _ = side.command(f"multi stopwait {worker}", app=False)
    return {
        "started": started, "outcome": outcome, "stopped": stopped,
        "pid file": (side.folder / "multi.pid").exists(),
        "log": "succeeded in" in (side.folder / "multi.log").read_text(),
    }  # fmt: skip


# What differs on purpose.


@differs({"worker-online", "worker-offline"}, set(), conf={"worker_enable_remote_control": False}, events=True)
def events_of_a_worker_without_remote_control(side: Side) -> Any:
    side.send("add", 1, 2, task_id="last")
    side.events("last", "task-succeeded")
    side.process.terminate()
    side.ended()
    return {event["type"] for event in side.events()} & {"worker-online", "worker-offline"}


@differs({"replies": ["SUCCESS"], "linked": 1}, {"replies": ["FAILURE"], "linked": 0}, conf={"nowait_canvas": False})
def a_task_that_names_another_one(side: Side) -> Any:
    side.send("add", 1, 2, task_id="naming", link=side.app.signature("test.note", task_id="linked"))
    eventually(lambda: side.notes("linked", "run") or "message rejected" in "".join(side.log("rejected")))
    # By another connection than other replies.
    replies = eventually(lambda: side.replies("naming"))
    return {"replies": [state for state, _ in replies], "linked": len(side.notes("linked", "run"))}


@pytest.fixture
def begin(new_vhosts: Iterator[str], private_broker: Broker, start: Start, tmp_path: Path) -> Iterator[Any]:
    """Starts the workers of a line, `begin(line)`; all at a time."""
    sides: dict[str, Side] = {}

    def begin(row: Line) -> dict[str, Side]:
        for number, (name, settings) in enumerate(SIDES.items()):
            folder = tmp_path / str(number)
            folder.mkdir()
            places = {"folder": folder, "broker": next(new_vhosts), "port": free_port()}
            given = {"broker_url": "{broker}", **settings, **row.settings}
            filled = {key: value.format(**places) if isinstance(value, str) else value for key, value in given.items()}
            options = row.options.format(**places).split()
            sides[name] = Side(start, filled.pop("broker_url"), folder, *options, broker=private_broker, **filled)
        return {name: side.ready() for name, side in sides.items()}

    yield begin
    for side in sides.values():
        side.close()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.scenario.__name__) for row in TABLE])
def test_a_worker_keeps_celerys_promises(
    row: Line, begin: Callable[[Line], dict[str, Side]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
    futures = {name: side.do(row.scenario) for name, side in begin(row).items()}
    assert {name: future.exception() or future.result() for name, future in futures.items()} == row.sees
