"""The query tasks on a real database."""

import base64
import json
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, text

from deploy.local.services import Services
from nowait.rows import encode_rows
from tasks.database import make_engine
from tasks.queries import query_users
from tasks.statements import fetch


@pytest.fixture
def engine(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = make_engine(services.database_url)
    monkeypatch.setattr("tasks.queries.engine", engine)
    yield engine
    engine.dispose()


ROWS_OF_FLAG = {0: 1, 1: 10, 2: 20, 3: 50, 4: 100, 5: 200, 6: 500, 7: 1000, 8: 2000, 9: 6119}


def test_the_sample_has_ten_thousand_users_over_ten_flags(engine: Engine) -> None:
    counts = {flag: len(query_users(flag).decode()) for flag in range(11)}
    assert counts == {**ROWS_OF_FLAG, 10: 0}
    assert sum(counts.values()) == 10_000


def test_users_come_with_all_their_columns_ordered_by_id(engine: Engine) -> None:
    rows = query_users(1).decode()
    assert [row["id"] for row in rows] == list(range(2, 12))
    assert rows[0] == {
        "id": 2,
        "flag": 1,
        "name": "Børge 2",
        "active": 1,
        "visits": 7919,
        "score": 0.14285714285714285,
        "balance": "-6171600433.4999",
        "born": "1950-01-02",
        "wakes": "00:00:08",
        "joined": "2020-03-01T00:01:00.000001",
        "seen": "2024-01-01T12:01:00",
        "avatar": "a4ayc/80/OGda4BO/1o/Vw==",
        "profile": {"tags": ["a", 1], "nested": {"π": 3.14, "none": None}},
        "note": 'line one\nline "two"\t1',
    }
    assert rows[4]["visits"] == 18446744073709551615
    nulls = {name for row in query_users(9).decode() for name, value in row.items() if value is None}
    assert nulls == {"score", "born", "wakes", "seen", "avatar", "profile", "note"}


@pytest.mark.parametrize("flag", [-1, 2**31, "1", 1.5, True, None, [1], "1 OR 1=1"])
def test_a_flag_that_is_none_is_refused(flag: Any) -> None:
    with pytest.raises(ValueError, match="flag"):
        query_users(flag)


@pytest.mark.parametrize("delay", [-1, 61, float("nan"), float("inf"), "1", None, True, [1]])
def test_a_delay_that_is_none_is_refused(delay: Any) -> None:
    with pytest.raises(ValueError, match="delay"):
        query_users(1, delay)


def wkb(form: str, *values: float) -> str:
    """A geometry as rows have it."""
    return base64.b64encode(struct.pack(form, *values)).decode()


COLUMNS = {
    "bool": ("BOOLEAN", "TRUE", 1),
    "tiny": ("TINYINT", "-128", -128),
    "big": ("BIGINT", "-9223372036854775808", -9223372036854775808),
    "big_unsigned": ("BIGINT UNSIGNED", "18446744073709551615", 18446744073709551615),
    "float": ("FLOAT", "1.5", 1.5),
    "double": ("DOUBLE", "1.7976931348623157e308", 1.7976931348623157e308),
    "decimal": (
        "DECIMAL(65, 30)",
        "-12345678901234567890123456789012345.000000000000000000000000000001",
        "-12345678901234567890123456789012345.000000000000000000000000000001",
    ),
    "date": ("DATE", "'9999-12-31'", "9999-12-31"),
    "time": ("TIME(6)", "'-838:59:58.999999'", "-838:59:58.999999"),
    "datetime": ("DATETIME(6)", "'1000-01-01 00:00:00.000001'", "1000-01-01T00:00:00.000001"),
    "timestamp": ("TIMESTAMP", "'2024-02-29 12:00:00'", "2024-02-29T12:00:00"),
    "year": ("YEAR", "2155", 2155),
    "char": ("CHAR(20)", "'Zoë 🐇'", "Zoë 🐇"),
    "text": ("LONGTEXT", "'a\\nb\"c''d\\\\'", "a\nb\"c'd\\"),
    "enum": ("ENUM('a', 'b')", "'b'", "b"),
    "enum_empty": ("ENUM('', 'ü')", "''", ""),
    "set": ("SET('a', 'b')", "'a,b'", "a,b"),
    "set_empty": ("SET('a', 'b')", "''", ""),
    "binary": ("BINARY(2)", "0x00FF", "AP8="),
    "blob": ("BLOB", "0xFFFE", "//4="),
    "bit": ("BIT(9)", "b'100000001'", "AQE="),
    "bit_one": ("BIT(1)", "b'1'", "AQ=="),
    "bit_most": ("BIT(64)", "18446744073709551615", "//////////8="),
    "year_zero": ("YEAR", "0", 0),
    "point": ("POINT", "ST_GeomFromText('POINT(1 2)')", wkb("<BIdd", 1, 1, 1.0, 2.0)),
    "geometry": ("GEOMETRY", "ST_GeomFromText('POINT(-1 0.5)', 3857)", wkb("<BIdd", 1, 1, -1.0, 0.5)),
    "line": ("LINESTRING", "ST_GeomFromText('LINESTRING(0 0, 1 1)')", wkb("<BII4d", 1, 2, 2, 0.0, 0.0, 1.0, 1.0)),
    "geometry_none": ("GEOMETRY", "NULL", None),
    "document": ("JSON", '\'{"a": [1, 2.5, null, true, "ü"]}\'', {"a": [1, 2.5, None, True, "ü"]}),
    "none": ("INT", "NULL", None),
}


# Of one type, with NULL among them: whatever the driver makes of them, they are written as PyMySQL's values are.
COLLECTIONS = {
    "integers": ("BIGINT", ["0", "-1", "9223372036854775807", "NULL"]),
    "zerofill": ("INT(5) ZEROFILL", ["0", "7", "12345", "NULL"]),
    "years": ("YEAR", ["0", "1901", "NULL"]),
    "floats": ("DOUBLE", ["0", "-0e0", "1e-5", "0.0001", "1e15", "1e16", "-1.5e300", "1e-300", "0.1", "5", "NULL"]),
    "singles": ("FLOAT", ["0.1", "1e10", "1e-10", "16777216"]),
    "fixed": ("DOUBLE(30, 10)", ["1e19", "0.00001", "1.5"]),
    "decimals": ("DECIMAL(20, 8)", ["0.00000001", "-0.00000012", "0", "10.0000001", "123456789012.5", "NULL"]),
    "dates": ("DATE", ["'0000-00-00'", "'2024-00-00'", "'0001-01-01'", "'2024-02-29'", "NULL"]),
    "moments": ("DATETIME(3)", ["'0000-00-00 00:00:00'", "'2024-02-29 12:00:00.120'", "'2024-02-29 12:00:00'", "NULL"]),
    "whole_moments": ("DATETIME", ["'2024-02-29 12:00:00'", "'0001-01-01 00:00:00'", "NULL"]),
    "times": ("TIME", ["'838:59:59'", "'-00:00:01'", "'00:00:00'", "NULL"]),
    "fractions": ("TIME(2)", ["'1:00:00.5'", "'-00:00:00.01'", "'00:00:00'", "NULL"]),
    "texts": ("LONGTEXT", ["''", "'\\0'", "'a\\0b'", "'Zoë 🐇'", "REPEAT('x', 250)", "REPEAT('ü', 200)", "NULL"]),
    "long": ("LONGTEXT", ["REPEAT('x', 251)", "REPEAT('x', 70000)", "REPEAT('ü', 200000)", "REPEAT('x', 3)", "NULL"]),
    "huge": ("LONGTEXT", ["REPEAT('x', 8000000)", "'x'"]),
    "bytes": ("LONGBLOB", ["''", "0x00", "REPEAT(0xFB, 300)", "NULL"]),
    "latin": ("VARCHAR(20) CHARACTER SET latin1", ["'Zoë'", "''", "NULL"]),
    "json": ("JSON", ["'1'", "'null'", "'[1e5, 1.10, -0.0, 18446744073709551616]'", "'{\"a\": 1, \"a\": 2}'", "NULL"]),
    "json_texts": ("JSON", ["'\"\\\\u00e9\\\\/\"'", "'\"π\"'", "'[ ]'"]),
    # What MariaDB's JSON does not let in.
    "json_of_text": ("LONGTEXT", ["'\"\\\\ud800\"'", "' 1 '"]),
}  # fmt: skip


@contextmanager
def table(engine: Engine, name: str, kind: str, literals: Iterable[str]) -> Iterator[None]:
    """A table of that name with one column `value`, and `id`, by which it is ordered."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SET sql_mode = 'ALLOW_INVALID_DATES'")
        connection.exec_driver_sql(f"CREATE TABLE {name} (id INT PRIMARY KEY, value {kind}) CHARACTER SET utf8mb4")
        try:
            for number, literal in enumerate(literals):
                # SQLAlchemy leaves it as it is, PyMySQL too without values.
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({number}, {literal})")
            yield
        finally:
            connection.exec_driver_sql(f"DROP TABLE {name}")


def both(engine: Engine, name: str, json: bool) -> tuple[bytes, bytes]:
    """The rows of a table, as the workers read them, and as PyMySQL reads them."""
    types = {"value": JSON()} if json else {}
    statement = text(f"SELECT value FROM {name} ORDER BY id").columns(**types)
    with engine.connect() as connection:
        result = connection.execute(statement)
        theirs = encode_rows(tuple(result.keys()), result.all())
    return fetch(engine, statement, {}, deadline=time.monotonic() + 60), theirs


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_type_comes_back(engine: Engine, name: str) -> None:
    kind, literal, expected = COLUMNS[name]
    with table(engine, f"column_{name}", kind, [literal]):
        ours, theirs = both(engine, f"column_{name}", kind == "JSON")
    assert json.loads(ours) == [{"value": expected}]
    assert ours == theirs


@pytest.mark.parametrize("name", COLLECTIONS)
def test_values_are_written_as_those_of_pymysql(engine: Engine, name: str) -> None:
    kind, literals = COLLECTIONS[name]
    with table(engine, f"collection_{name}", kind, literals):
        ours, theirs = both(engine, f"collection_{name}", name.startswith("json"))
    # JSON columns are passed on as they are, which is the same document.
    read: Callable[[bytes], Any] = json.loads if name.startswith("json") else bytes
    assert read(ours) == read(theirs)
    assert ours.count(b'"value":') == len(literals)


def test_rows_that_arrive_in_pieces_are_whole(engine: Engine) -> None:
    # More than the connection's buffer, in rows that end anywhere in it.
    statement = text("SELECT id, REPEAT(CHAR(97 + id % 26 USING utf8mb4), id % 1000) AS letters FROM users ORDER BY id")
    rows = json.loads(fetch(engine, statement, {}, deadline=time.monotonic() + 60))
    assert rows == [{"id": n, "letters": chr(97 + n % 26) * (n % 1000)} for n in range(1, 10_001)]


def test_columns_have_the_names_that_they_are_given(engine: Engine) -> None:
    statement = text("""SELECT 1 AS `a "b"`, 2 AS `π`, 3 AS `back\\slash`, 4 AS `π`, 5 AS `line
end`""")
    rows = fetch(engine, statement, {}, deadline=time.monotonic() + 60)
    assert json.loads(rows) == [{'a "b"': 1, "π": 4, "back\\slash": 3, "line\nend": 5}]


def test_generated_columns_come_back_as_all_others(engine: Engine) -> None:
    net = "DECIMAL(8, 2), tax DECIMAL(8, 2) GENERATED ALWAYS AS (value / 5) VIRTUAL"
    label = "label VARCHAR(20) GENERATED ALWAYS AS (CONCAT('€ ', value)) STORED"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE TABLE prices (value {net}, {label}) CHARACTER SET utf8mb4")
        try:
            connection.exec_driver_sql("INSERT INTO prices (value) VALUES (12.50)")
            rows = fetch(engine, text("SELECT * FROM prices"), {}, deadline=time.monotonic() + 60)
            assert json.loads(rows) == [{"value": "12.50", "tax": "2.50", "label": "€ 12.50"}]
        finally:
            connection.exec_driver_sql("DROP TABLE prices")


def test_a_json_column_that_is_not_listed_is_json_in_mysql_and_a_text_in_mariadb(engine: Engine) -> None:
    with engine.connect() as connection:
        is_text = getattr(connection.dialect, "is_mariadb", False)
    query = text("SELECT profile FROM users WHERE profile IS NOT NULL LIMIT 1")
    (row,) = json.loads(fetch(engine, query, {}, deadline=time.monotonic() + 60))
    assert isinstance(row["profile"], str if is_text else dict)


def test_geojson_is_json_where_its_column_is_listed(engine: Engine) -> None:
    query = text("SELECT ST_AsGeoJSON(ST_GeomFromText('POINT(1 2)')) AS place").columns(place=JSON())
    rows = fetch(engine, query, {}, deadline=time.monotonic() + 60)
    assert json.loads(rows) == [{"place": {"type": "Point", "coordinates": [1.0, 2.0]}}]


def test_a_process_that_was_forked_opens_its_own_connections(engine: Engine) -> None:
    with engine.connect() as connection:
        parents = connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            with engine.connect() as connection:
                os.write(writer, str(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        childs = int(file.read())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT CONNECTION_ID()")).scalar_one() == parents != childs
