"""Statements within their time, on a real database."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from pymysql.err import InterfaceError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from deploy.local.services import Services
from nowait.database_url import DatabaseUrl
from nowait.errors import ResultTooLarge
from tasks.database import connect, limited, make_engine
from tasks.statements import ConnectionLost, OutOfTime, QueryFailed, begin, fetch
from tests.bridge.conftest import until
from tests.faults.proxy import Proxy
from tests.sequence import sequence


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    engine = make_engine(services.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def locked(engine: Engine) -> Iterator[Connection]:
    """A connection that holds a row of its own; it lets go with rollback()."""
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE lockable (id INT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO lockable VALUES (1)"))
        connection.execute(text("BEGIN"))
        connection.execute(text("SELECT id FROM lockable FOR UPDATE"))
        yield connection
        connection.rollback()
        connection.execute(text("DROP TABLE lockable"))


# An answer at once instead of after 50 seconds; MariaDB's error is the same.
WANTS_THE_LOCK = text("SELECT id FROM lockable FOR UPDATE NOWAIT")


def sleeping(connection: Connection) -> list[int]:
    """The connections that are asleep in a query."""
    found = connection.execute(text("SELECT id FROM information_schema.processlist WHERE state = 'User sleep'"))
    return list(found.scalars())


def test_rows_are_a_json_array_of_objects(engine: Engine) -> None:
    two = text("SELECT :a AS a, 'x%' AS b UNION ALL SELECT 3, NULL")
    assert fetch(engine, two, {"a": 1}, deadline=time.monotonic() + 60) == b'[{"a":1,"b":"x%"},{"a":3,"b":null}]'


def test_no_rows_are_an_empty_array(engine: Engine) -> None:
    assert fetch(engine, text("SELECT 1 FROM users WHERE FALSE"), {}, deadline=time.monotonic() + 60) == b"[]"


def test_a_statement_that_is_no_query_gives_no_rows(engine: Engine) -> None:
    assert fetch(engine, text("SET @nothing = 1"), {}, deadline=time.monotonic() + 60) == b"[]"


def test_the_database_ends_a_statement_at_its_deadline(engine: Engine) -> None:
    started = time.monotonic()
    with engine.connect() as connection:
        before = set(sleeping(connection))
        # In a condition: MySQL ends a SLEEP() that is all of a statement without an error.
        slow = text("SELECT 1 FROM users WHERE SLEEP(60)")
        with pytest.raises(QueryFailed, match="error (1969|3024)"):  # MariaDB's, MySQL's
            fetch(engine, slow, {}, deadline=time.monotonic() + 0.5, repeatable=True)
        assert time.monotonic() - started < 30
        assert set(sleeping(connection)) <= before


def test_a_limit_is_that_of_one_statement(engine: Engine) -> None:
    fetch(engine, text("SELECT 1"), {}, deadline=time.monotonic() + 0.2)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT SLEEP(0.5)")).scalar_one() == 0


def test_a_limit_of_less_than_a_millisecond_is_one(engine: Engine) -> None:
    slow = "SELECT 1 FROM users WHERE SLEEP(5)"
    exceeded = "(max_statement_|execution )time exceeded"  # MariaDB's text, MySQL's
    with engine.connect() as connection, pytest.raises(OperationalError, match=exceeded):
        for statement in limited(engine.dialect, slow, 0.0001):
            connection.exec_driver_sql(statement)


def test_nothing_is_begun_behind_the_deadline(engine: Engine) -> None:
    with pytest.raises(OutOfTime):
        fetch(engine, text("no SQL at all"), {}, deadline=time.monotonic() - 1)


def test_a_lock_is_waited_for_when_the_statement_may_run_again(engine: Engine, locked: Connection) -> None:
    timer = threading.Timer(0.4, locked.rollback)
    timer.start()
    try:
        assert fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 60, repeatable=True) == b'[{"id":1}]'
    finally:
        timer.join()


def test_a_lock_is_waited_for_no_longer_than_the_deadline(engine: Engine, locked: Connection) -> None:
    with pytest.raises((QueryFailed, OutOfTime)):
        fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 0.4, repeatable=True)


def test_a_statement_that_may_not_run_again_fails_at_once(engine: Engine, locked: Connection) -> None:
    with pytest.raises(QueryFailed, match="error (1205|3572)"):  # MariaDB's, MySQL's
        fetch(engine, WANTS_THE_LOCK, {}, deadline=time.monotonic() + 60)


def test_an_error_has_neither_sql_nor_parameters_in_its_text(engine: Engine) -> None:
    wrong = text("SELECT nothing FROM nowhere WHERE secret = :secret")
    with pytest.raises(QueryFailed) as caught:
        fetch(engine, wrong, {"secret": "4711"}, deadline=time.monotonic() + 60)
    assert str(caught.value) == "error 1146 of the database"
    # The worker's own log has the statement, but not what it was called with.
    assert "4711" not in str(caught.value.__cause__)


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_lost_connection_is_replaced_once_when_the_statement_may_run_again(engine: Engine, repeatable: bool) -> None:
    slow = text("SELECT SLEEP(2) AS done")
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(fetch(engine, slow, {}, deadline=time.monotonic() + 60, repeatable=repeatable))
        except ConnectionLost:
            outcome.append("lost")

    with engine.connect() as connection:
        others = set(sleeping(connection))
        thread = threading.Thread(target=run)
        thread.start()
        while not (mine := set(sleeping(connection)) - others):
            time.sleep(0.02)
        connection.execute(text(f"KILL {mine.pop()}"))
        thread.join()
    assert outcome == ([b'[{"done":0}]'] if repeatable else ["lost"])


@pytest.fixture
def failing_once(engine: Engine) -> Iterator[None]:
    """A procedure that fails with this error when it is called first, and then gives the id of its connection."""
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE failures (number INT)")
        connection.exec_driver_sql(
            "CREATE PROCEDURE failing_once(error INT) BEGIN IF NOT EXISTS (SELECT * FROM failures) THEN "
            "INSERT INTO failures VALUES (error); SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = error; END IF; "
            "SELECT CONNECTION_ID() AS id; END"
        )
        yield
        connection.exec_driver_sql("DROP PROCEDURE failing_once")
        connection.exec_driver_sql("DROP TABLE failures")


def test_a_database_that_is_about_to_stop_has_ended_the_connection(engine: Engine, failing_once: None) -> None:
    own = text("SELECT CONNECTION_ID() AS id")
    before = fetch(engine, own, {}, deadline=time.monotonic() + 60)
    call = text("CALL failing_once(1053)")
    after = fetch(engine, call, {}, deadline=time.monotonic() + 60, repeatable=True)
    assert json.loads(after)[0].keys() == {"id"}
    assert after != before, "the connection that it ends in a moment was not used again"


def test_a_database_that_is_about_to_stop_may_have_run_a_statement(engine: Engine, failing_once: None) -> None:
    with pytest.raises(ConnectionLost, match="error 1053 of the database"):
        fetch(engine, text("CALL failing_once(1053)"), {}, deadline=time.monotonic() + 60)


def test_a_connection_that_ends_in_the_hands_of_a_task_is_replaced(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="1053"), engine.connect() as connection:
        connection.exec_driver_sql("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053")
    assert fetch(engine, text("SELECT 1 AS one"), {}, deadline=time.monotonic() + 60) == b'[{"one":1}]'


def test_a_statement_that_somebody_has_ended_is_not_run_again(engine: Engine, failing_once: None) -> None:
    with pytest.raises(QueryFailed, match="error 1317 of the database"):
        fetch(engine, text("CALL failing_once(1317)"), {}, deadline=time.monotonic() + 60, repeatable=True)


def test_a_query_that_is_well_is_one_statement(engine: Engine) -> None:
    with engine.connect() as connection:
        if not getattr(connection.dialect, "is_mariadb", False):
            pytest.skip("MySQL counts them elsewhere")
    count = text("SELECT variable_value AS n FROM information_schema.session_status WHERE variable_name = 'QUESTIONS'")
    first, second = (fetch(engine, count, {}, deadline=time.monotonic() + 60, repeatable=True) for _ in range(2))
    assert int(json.loads(second)[0]["n"]) == int(json.loads(first)[0]["n"]) + 1


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_idle_connection_that_the_database_has_ended_is_replaced(engine: Engine, repeatable: bool) -> None:
    own = text("SELECT CONNECTION_ID() AS id")

    def ask() -> int:
        found: int = json.loads(fetch(engine, own, {}, deadline=time.monotonic() + 60, repeatable=repeatable))[0]["id"]
        return found

    with engine.connect() as connection:
        idle = ask()
        connection.execute(text(f"KILL {idle}"))
        alive = text(f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {idle}")
        while connection.execute(alive).scalar_one():
            time.sleep(0.02)
        assert ask() != idle


def test_rows_that_another_statement_has_ended_are_no_whole_result(engine: Engine) -> None:
    with connect(engine) as connection:
        batches = begin(connection, engine.dialect, text(f"SELECT seq FROM {sequence(5)} AS s"), {}, 60.0).batches()
        next(batches)
        with pytest.warns(UserWarning, match="left incomplete"):
            connection.query("DO 0")
        with pytest.raises(InterfaceError):
            list(batches)


@pytest.fixture
def procedures(engine: Engine) -> Iterator[None]:
    """Procedures that give rows: one fails behind them, at once or a little later, and one gives others, too."""
    many = f"SELECT seq AS b FROM {sequence(5)} AS s"
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE PROCEDURE fails_late(seconds DOUBLE) BEGIN SELECT 'begun' AS a; DO SLEEP(seconds); "
            "SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062; END"
        )
        connection.exec_driver_sql(f"CREATE PROCEDURE several() BEGIN SELECT 'one' AS a; {many}; DO 0; {many}; END")
        yield
        connection.exec_driver_sql("DROP PROCEDURE fails_late")
        connection.exec_driver_sql("DROP PROCEDURE several")


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_procedure_that_fails_behind_its_rows_has_failed_and_no_query_after_it(
    engine: Engine, procedures: None, seconds: float
) -> None:
    with pytest.raises(QueryFailed, match="error 1062 of the database"):
        fetch(engine, text("CALL fails_late(:seconds)"), {"seconds": seconds}, deadline=time.monotonic() + 60)
    assert fetch(engine, text("SELECT 1 AS one"), {}, deadline=time.monotonic() + 60) == b'[{"one":1}]'


def test_of_a_procedure_the_first_result_is_given_and_all_others_are_read(engine: Engine, procedures: None) -> None:
    with connect(engine) as connection:
        result = begin(connection, engine.dialect, text("CALL several()"), {}, 60.0)
        assert [list(map(list, columns)) for columns in result.batches()] == [[["one"]]]
        assert connection.usable


def test_a_connection_with_a_result_that_is_not_read_is_not_used_again(engine: Engine, procedures: None) -> None:
    with connect(engine) as connection:
        connection.query("CALL several()")
    assert not connection.open


@pytest.mark.parametrize("limits", [{"row_limit": 1000}, {"byte_limit": 100_000}])
def test_a_result_over_its_limits_is_an_error_and_is_not_read_to_its_end(
    engine: Engine, limits: dict[str, int]
) -> None:
    endless = text("SELECT REPEAT('x', 1000) AS x FROM users AS a, users AS b, users AS c")
    with pytest.raises(ResultTooLarge) as caught:
        fetch(engine, endless, {}, deadline=time.monotonic() + 60, **limits)
    assert {f"{caught.value.unit.removesuffix('s')}_limit": caught.value.limit} == limits
    assert fetch(engine, text("SELECT 1 AS one"), {}, deadline=time.monotonic() + 60) == b'[{"one":1}]'


def test_bytes_are_counted_as_they_are_held_with_the_names_of_the_columns(engine: Engine) -> None:
    # 6 bytes of each row come from the database.
    named = text(f"SELECT NULL AS {'a' * 60}, NULL AS {'b' * 60} FROM {sequence(4)} AS s")
    with pytest.raises(ResultTooLarge):
        fetch(engine, named, {}, deadline=time.monotonic() + 60, byte_limit=1_000_000)
    assert len(fetch(engine, named, {}, deadline=time.monotonic() + 60, byte_limit=1_400_000)) > 1_300_000


def test_a_result_at_its_limit_is_whole(engine: Engine) -> None:
    whole = text("SELECT id FROM users LIMIT 1000")
    assert len(json.loads(fetch(engine, whole, {}, deadline=time.monotonic() + 60, row_limit=1000))) == 1000


def test_a_connection_that_is_lost_in_the_middle_of_a_result_is_an_error_of_its_own(engine: Engine) -> None:
    # Rows of 1000 bytes, every 20 ms: the first are being read when the connection ends.
    slow = text("SELECT REPEAT('x', 1000) AS x, SLEEP(0.02) AS s FROM users")
    outcome: list[Any] = []

    def run() -> None:
        try:
            fetch(engine, slow, {}, deadline=time.monotonic() + 60)
        except Exception as error:
            outcome.append(error)

    with engine.connect() as connection:
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(2)
        running = "SELECT id FROM information_schema.processlist WHERE info LIKE '%REPEAT%0.02%'"
        (victim,) = connection.execute(text(f"{running} AND id != CONNECTION_ID()")).scalars()
        connection.execute(text(f"KILL {victim}"))
        thread.join()
    (error,) = outcome
    assert isinstance(error, ConnectionLost)


# From here on, the database is silent from some moment on: it is behind a proxy that passes nothing any more.
SLOW_ROWS = text("SELECT REPEAT('x', 2000) AS x, SLEEP(0.02) AS s FROM users")


class Silence:
    """A database that can fall silent, and an engine of its own.

    Attributes:
        proxy: what stands in front of it.
        engine: reaches it by the proxy.
    """

    def __init__(self, proxy: Proxy, url: str, threads: ThreadPoolExecutor) -> None:
        self.proxy = proxy
        self.engine = make_engine(url.replace(f":{DatabaseUrl.parse(url).port}/", f":{proxy.port}/"))
        self._threads = threads

    def begin(self, statement: Any = text("SELECT 1 AS one"), seconds: float = 60, **options: Any) -> Any:
        """Fetch in a thread, with so many seconds to the deadline; an asyncio.Future of the rows."""
        return self.run(fetch, self.engine, statement, {}, deadline=time.monotonic() + seconds, **options)

    def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function in a thread; an asyncio.Future of what it returns."""
        call = partial(function, *arguments, **options)
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


@asynccontextmanager
async def silence(url: str) -> AsyncIterator[Silence]:
    with ThreadPoolExecutor(20) as threads:
        async with Proxy(DatabaseUrl.parse(url).port) as proxy:
            silence = Silence(proxy, url, threads)
            try:
                yield silence
            finally:
                proxy.hang_up(refuse=True)  # whoever waits still is let go
        silence.engine.dispose()


async def connecting(silence: Silence) -> Any:
    silence.proxy.stall(0)
    return silence.begin(seconds=1)


async def logging_in(silence: Silence, seconds: float = 1) -> Any:
    silence.proxy.stall(1000)
    call = silence.begin(seconds=seconds)
    await until(lambda: silence.proxy.stalled)
    return call


async def on_the_ping(silence: Silence) -> Any:
    await silence.begin()
    silence.proxy.stall(0)
    return silence.begin(seconds=1)


async def at_once(silence: Silence) -> Any:
    await silence.begin()
    silence.proxy.stall(0)
    return silence.begin(seconds=1, repeatable=True)


async def in_the_statement(silence: Silence) -> Any:
    await silence.begin()
    call = silence.begin(text("SELECT SLEEP(0.3), REPEAT('x', 100000)"), seconds=1, repeatable=True)
    await asyncio.sleep(0.1)
    silence.proxy.stall(2000)
    return call


async def in_the_rows(silence: Silence) -> Any:
    call = silence.begin(SLOW_ROWS, seconds=2, repeatable=True)
    await until(lambda: silence.proxy.longest > 10_000)
    silence.proxy.stall(100)
    return call


async def trickling(silence: Silence) -> Any:
    await silence.begin()
    call = silence.begin(text("SELECT SLEEP(0.3), REPEAT('x', 1000000)"), seconds=1, repeatable=True)
    await asyncio.sleep(0.1)
    silence.proxy.pace = 0.1
    return call


FALLS_SILENT = [connecting, logging_in, on_the_ping, at_once, in_the_statement, in_the_rows, trickling]


@pytest.mark.gen_test
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("falls_silent", FALLS_SILENT)
async def test_a_silent_database_holds_no_thread_beyond_the_deadline(
    services: Services, trusted: str, tls: bool, falls_silent: Callable[[Silence], Any]
) -> None:
    async with silence(trusted if tls else services.database_url) as database:
        call = await falls_silent(database)
        started = time.monotonic()
        with pytest.raises(OutOfTime):
            await asyncio.wait_for(call, 20)
        # The deadline is a second or two away at most.
        assert time.monotonic() - started < 10
        # And once it speaks again, everything is as before.
        database.proxy.accept()
        database.proxy.pace = None
        assert await database.begin() == b'[{"one":1}]'


@pytest.mark.gen_test
async def test_nobody_waits_for_the_first_connection_beyond_his_own_deadline(services: Services) -> None:
    async with silence(services.database_url) as database:
        first = await logging_in(database, 20)
        with pytest.raises(OutOfTime):
            await asyncio.wait_for(database.begin(seconds=0.5), 10)
        assert not first.done()
        database.proxy.hang_up()
        database.proxy.accept()
        assert await first == b'[{"one":1}]'


@pytest.mark.gen_test
async def test_rows_are_there_although_the_database_falls_silent_behind_them(services: Services) -> None:
    async with silence(services.database_url) as database:
        await database.begin()
        call = database.begin(text("SELECT SLEEP(0.3) AS slept"), seconds=1)
        await asyncio.sleep(0.1)
        database.proxy.stall(1000)
        assert await asyncio.wait_for(call, 20) == b'[{"slept":0}]'


@pytest.mark.gen_test
async def test_a_statement_that_must_not_run_twice_ends_with_the_first_silence(
    engine: Engine, services: Services
) -> None:
    with engine.connect() as connection:
        if not getattr(connection.dialect, "is_mariadb", False):
            pytest.skip("MySQL has no sequence, by which a run is counted without a transaction")
        connection.execute(text("CREATE SEQUENCE runs"))
        try:
            async with silence(services.database_url) as database:
                await database.begin()
                call = database.begin(text("SELECT NEXTVAL(runs), SLEEP(0.3)"), seconds=1)
                await asyncio.sleep(0.1)
                database.proxy.stall(0)
                with pytest.raises(ConnectionLost):
                    await asyncio.wait_for(call, 20)
            assert connection.execute(text("SELECT NEXTVAL(runs)")).scalar_one() == 2
        finally:
            connection.execute(text("DROP SEQUENCE runs"))
