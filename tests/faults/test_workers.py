"""Workers that are killed, kept from answering, or added."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import kombu
import psutil
import pytest
from celery import Celery

from deploy.local.broker import Broker
from deploy.local.process import Process
from deploy.local.services import Services
from nowait.bridge import Bridge, Call
from nowait.errors import OutcomeUnknown, TaskFailed
from tests.bridge.conftest import running, until
from tests.conftest import Hold, Start, celery_worker, printed, services_settings
from tests.faults.conftest import control, service
from tests.faults.figures import Figures

pytestmark = [pytest.mark.gen_test(timeout=300), pytest.mark.timeout(300)]

QUEUE = "queries"
# Closes the connections from these ports that have publisher confirms: of a worker, that of its replies.
_CUT_REPLIES = """
[rabbit_networking:close_connection(Connection, "closed by a test")
 || [{pid, Connection}, {peer_port, Port}] <- rabbit_networking:connection_info_all([pid, peer_port]),
    lists:member(Port, PORTS),
    lists:any(fun([{connection, Its}, {confirm, Confirms}]) -> Its == Connection andalso Confirms end,
              rabbit_channel:info_all([connection, confirm]))].
"""


@pytest.fixture
def settings(vhost: str, services: Services, tmp_path: Path) -> dict[str, Any]:
    """The settings of workers with a query that may run again, one that must not, and a slow one."""
    for name, repeatable in (("again", "true"), ("once", "false")):
        (tmp_path / f"{name}.sql").write_text("SELECT id FROM users WHERE id = 1")
        (tmp_path / f"{name}.toml").write_text(f"[{name}]\nrepeatable = {repeatable}\n")
    (tmp_path / "slow.sql").write_text("SELECT SLEEP(0.1) AS slept")
    return {**services_settings(services), "broker_url": vhost, "queries": tmp_path}


async def with_idle_second(
    bridge: Bridge, start: Start, settings: dict[str, Any], query: str, held: Callable[[], int]
) -> Any:
    """A call whose worker is killed in the midst of it while another one has nothing to do; and when that was."""
    options = ("-P", "threads", "-c", "1")
    doomed = celery_worker(start, "tasks", *options, **settings)
    call = bridge.send_task("task.run_query", [query], queue=QUEUE, timeout=60)
    await until(lambda: held() == 1)
    celery_worker(start, "tasks", *options, **settings)
    killed = time.monotonic()
    doomed.kill()
    return call, killed


async def test_the_task_of_a_worker_that_is_killed_goes_to_another_at_once(
    vhost: str, settings: dict[str, Any], start: Start, hold: Hold, figures: Figures
) -> None:
    async with running(vhost) as bridge:
        with hold() as held:
            call, killed = await with_idle_second(bridge, start, settings, "again", held)
            # A statement whose client is gone still waits.
            await until(lambda: held() == 2)
            taken = time.monotonic() - killed
        assert await call == [{"id": 1}]
    figures.remark("a worker killed, taken by another", after=taken)
    assert taken < 1.0


async def test_a_query_that_must_not_run_twice_is_told_to_be_lost(
    vhost: str, settings: dict[str, Any], start: Start, hold: Hold
) -> None:
    async with running(vhost) as bridge:
        with hold() as held:
            call, _ = await with_idle_second(bridge, start, settings, "once", held)
            with pytest.raises(OutcomeUnknown):
                await call


async def test_an_alarm_does_not_keep_a_worker_whose_task_is_over_its_limit(
    private_broker: Broker, vhost: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker tells a systemd that it is alive, from the loop of its main process.
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        worker = celery_worker(
            start, "tests.celeryapp", "-P", "prefork", "-c", "1", broker_url=vhost,
            test_consumer="nowait.worker:Consumer", test_backend="nowait.worker:Results",
        )  # fmt: skip

        def heard() -> list[str]:
            said = []
            while True:
                try:
                    said.append(systemd.recv(1000).decode())
                except BlockingIOError:
                    return said

        async with running(vhost) as bridge:
            call = bridge.send_task("test.sleep", [60], queue="tests", time_limit=8, timeout=60)
            await until(lambda: bridge.statistics().unconfirmed == 0)
            try:
                await control(private_broker, "set_vm_memory_high_watermark", "absolute", "1MB")
                await asyncio.sleep(8.5)
                assert "READY=1" in heard()
                # The limit has passed: the failure is on its way, and the main process goes on.
                for _ in range(3):
                    await asyncio.sleep(2)
                    assert "WATCHDOG=1" in heard()
                assert not call.done()
            finally:
                await control(private_broker, "set_vm_memory_high_watermark", "0.4")
            with pytest.raises(TaskFailed) as caught:
                await call
            assert caught.value.exception == "TimeLimitExceeded"
            assert await bridge.send_task("test.echo", ["next"], queue="tests", timeout=60) == "next"
        worker.stop()


async def test_what_has_begun_is_run_once_when_the_connection_of_the_replies_alone_is_lost(
    private_broker: Broker, vhost: str, start: Start, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.touch()
    kind = {"test_consumer": "nowait.worker:Consumer", "test_backend": "nowait.worker:Results", "test_runs": runs}
    worker = celery_worker(start, "tests.celeryapp", "-P", "threads", "-c", "8", broker_url=vhost, **kind)
    calls: list[Call] = []
    async with running(vhost, max_in_flight=10_000, timeout=60.0) as bridge:

        async def send() -> None:
            while True:
                number = len(calls)
                calls.extend(bridge.send_task("test.record", [f"{number + n}", 0.0], queue="tests") for n in range(8))
                await asyncio.sleep(0.02)

        sending = asyncio.ensure_future(send())
        for _ in range(5):
            connects = printed(worker).count("broker connected")
            ports = [each.laddr.port for each in psutil.Process(worker.pid).net_connections()]
            await control(private_broker, "eval", _CUT_REPLIES.replace("PORTS", str(ports)))
            await until(lambda: printed(worker).count("broker connected") > connects)
        sending.cancel()
        await asyncio.gather(*calls)
    ran = [line.split()[0] for line in runs.read_text().splitlines()]
    assert len(ran) == len(set(ran)) == len(calls)
    assert "closed by a test" in printed(worker)
    worker.stop()


async def test_an_alarm_of_the_broker_costs_a_worker_no_connection_however_many_replies_wait(
    private_broker: Broker, vhost: str, start: Start
) -> None:
    kind = {"test_consumer": "nowait.worker:Consumer", "test_backend": "nowait.worker:Results"}
    worker = celery_worker(start, "tests.celeryapp", "-P", "threads", "-c", "1", broker_url=vhost, **kind)
    async with running(vhost) as bridge:
        first = bridge.send_task("test.sleep", [5.0], queue="tests", timeout=60)
        calls = [bridge.send_task("test.echo", ["x" * 200_000], queue="tests", timeout=60) for _ in range(100)]
        await until(lambda: bridge.statistics().unconfirmed == 0)
        await control(private_broker, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            await until(lambda: printed(worker).count("test.echo[") >= 200)  # received, and done
            await asyncio.sleep(4)
        finally:
            await control(private_broker, "set_vm_memory_high_watermark", "0.4")
        await asyncio.gather(first, *calls)
        assert bridge.statistics().duplicate == 0
    assert "connection lost" not in printed(worker)
    worker.stop()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
async def test_refused_messages_do_not_keep_a_worker_while_the_broker_takes_no_dead_letters(
    private_broker: Broker, vhost: str, start: Start, tmp_path: Path, pool: str
) -> None:
    if int(private_broker.control("version").partition(".")[0]) >= 4:
        pytest.skip("the prefetch count of a consumer is fixed: refused messages take places until they are given back")
    runs = tmp_path / "runs"
    runs.touch()
    options = {"content_type": "application/json", "content_encoding": "utf-8"}

    def ran() -> list[str]:
        return [line.split()[0] for line in runs.read_text().splitlines()]

    with kombu.Connection(vhost) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare("callers", durable=True, auto_delete=False)

        def send(number: int, **headers: Any) -> None:
            made = made_by.amqp.as_task_v2(f"{number}", "test.record", [f"{number}", 0.0], reply_to="callers")
            # Good ones name no reply queue: their replies, too, would wait for the broker.
            named = {"reply_to": "callers", "correlation_id": f"{number}"} if headers else {}
            message = amqp.Message(json.dumps(made.body), application_headers={**made.headers, **headers}, **named)
            message.properties.update(options)
            channel.basic_publish(message, routing_key="tests")

        made_by = Celery("callers", broker="memory://", set_as_current=False)
        settings = {"test_runs": runs, "test_consumer": "nowait.worker:Consumer"}
        worker = celery_worker(
            start, "tests.celeryapp", "-P", pool, "-c", "1", broker_url=vhost, test_backend="rpc://", **settings
        )
        send(0)
        await until(lambda: ran() == ["0"])
        worker.stop()
        # What is refused comes first, and takes more places than the worker has.
        for number in range(1, 21):
            send(number, **({"retries": -1} if number <= 10 else {}))
        await control(private_broker, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            worker = celery_worker(
                start, "tests.celeryapp", "-P", pool, "-c", "1", broker_url=vhost, test_backend="rpc://", **settings
            )
            await until(lambda: len(ran()) == 11)
            assert sorted(ran()[1:], key=int) == [f"{number}" for number in range(11, 21)]
        finally:
            await control(private_broker, "set_vm_memory_high_watermark", "0.4")
        replies: dict[str, Any] = {}

        def answered() -> bool:
            while reply := channel.basic_get("callers", no_ack=True):
                replies[reply.properties["correlation_id"]] = json.loads(reply.body)["rejected"]
            dead = channel.queue_declare("queries.dead", passive=True).message_count
            return len(replies) == 10 and dead >= 10

        await until(answered, 120.0)
        assert replies == {f"{number}": True for number in range(1, 11)}
        worker.stop()


async def test_a_worker_finds_a_broker_that_comes_back_at_once(
    start: Start, tmp_path: Path, figures: Figures
) -> None:
    broker = Broker(tmp_path / "broker")
    try:
        broker.start()
        broker.wait_ready()
        alive = tmp_path / "alive"
        worker = celery_worker(
            start, "tests.celeryapp", "-P", "threads", "-c", "2", broker_url=broker.url,
            test_consumer="nowait.worker:Consumer", test_backend="nowait.worker:Results", test_alive=alive,
        )  # fmt: skip
        async with running(broker.url) as bridge:
            assert await bridge.send_task("test.echo", [1], queue="tests") == 1
            broker.process.kill()
            alive.unlink()
            # Celery would pause longer and longer, up to half a minute; to wait is to be alive.
            await until(alive.exists)
            broker.start()
            await asyncio.get_running_loop().run_in_executor(None, broker.wait_ready)
            took = await service(bridge)
        worker.stop()
    finally:
        broker.stop()
    figures.remark("broker back, worker too", after=took)
    assert took < 10


async def test_throughput_grows_with_the_workers(
    vhost: str, settings: dict[str, Any], start: Start, scale: float, figures: Figures
) -> None:
    threads, rounds = 4, round(200 * scale) or 20
    workers: list[Process] = []
    rates: dict[int, float] = {}

    async def ask(bridge: Bridge) -> None:
        await bridge.send_task("task.run_query", ["slow"], queue=QUEUE, timeout=100)

    async with running(vhost) as bridge:
        for count in (1, 2, 4):
            while len(workers) < count:
                workers.append(celery_worker(start, "tasks", "-P", "threads", "-c", str(threads), **settings))
            # As many callers as threads, and one more for each, so that none ever has nothing to do.
            callers, calls = 2 * threads * count, rounds * threads * count
            await asyncio.gather(*(ask(bridge) for _ in range(callers)))
            waiting = iter(range(calls))

            async def caller() -> None:
                for _ in waiting:
                    await ask(bridge)

            started = time.monotonic()
            await asyncio.gather(*(caller() for _ in range(callers)))
            rates[count] = calls / (time.monotonic() - started)
    for worker in workers:
        worker.stop()
    figures.remark(
        "throughput of a 100 ms query, workers with 4 threads",
        **{f"with_{count}": f"{rate:.0f}/s" for count, rate in rates.items()},
        of_linear=f"{rates[2] / rates[1] / 2:.2f} and {rates[4] / rates[1] / 4:.2f}",
    )
    # Only the full run measures; a short one runs beside anything else that the machine has to do.
    least = 0.9 if scale else 0.5
    assert rates[2] >= least * 2 * rates[1]
    assert rates[4] >= least * 4 * rates[1]
