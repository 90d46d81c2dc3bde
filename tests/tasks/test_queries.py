"""The query tasks on a real database."""

import base64
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, text

from deploy.local.services import Services
from nowait.rows import to_json
from tasks.database import make_engine
from tasks.queries import query_users


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


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_type_comes_back(engine: Engine, name: str) -> None:
    kind, literal, expected = COLUMNS[name]
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE one (value {kind}) CHARACTER SET utf8mb4")
        connection.exec_driver_sql(f"INSERT INTO one VALUES ({literal})")
        query = text("SELECT value FROM one")
        types = {"value": JSON()} if kind == "JSON" else {}
        assert to_json(connection.execute(query.columns(**types)).scalar_one()) == expected
        connection.exec_driver_sql("DROP TEMPORARY TABLE one")


def test_generated_columns_come_back_as_all_others(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE generated (net DECIMAL(8, 2),"
            " tax DECIMAL(8, 2) GENERATED ALWAYS AS (net / 5) VIRTUAL,"
            " label VARCHAR(20) GENERATED ALWAYS AS (CONCAT('€ ', net)) STORED)"
        )
        connection.exec_driver_sql("INSERT INTO generated (net) VALUES (12.50)")
        (row,) = connection.exec_driver_sql("SELECT * FROM generated")
        assert [to_json(value) for value in row] == ["12.50", "2.50", "€ 12.50"]
        connection.exec_driver_sql("DROP TEMPORARY TABLE generated")


def test_geojson_is_json_where_its_column_is_listed(engine: Engine) -> None:
    query = text("SELECT ST_AsGeoJSON(ST_GeomFromText('POINT(1 2)')) AS place").columns(place=JSON())
    with engine.connect() as connection:
        assert to_json(connection.execute(query).scalar_one()) == {"type": "Point", "coordinates": [1.0, 2.0]}


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
