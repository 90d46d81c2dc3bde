"""Queries of a user's own, on a schema of its own, over HTTP: films, who plays in them, and their rentals."""

import base64
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.conftest import Hold, Start, celery_worker, connect, printed, ready, services_settings
from tests.http import assert_problem, fetch
from tests.metrics import scrape
from tests.system.conftest import Volley, soon

SCHEMA = """
CREATE TABLE film (
    film_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    title VARCHAR(128) NOT NULL,
    release_year YEAR NULL,
    rental_rate DECIMAL(4, 2) NOT NULL,
    rental_days TINYINT UNSIGNED NOT NULL,
    rating ENUM('G', 'PG', 'PG-13', 'R') NULL,
    features SET('Trailers', 'Commentaries', 'Deleted Scenes') NULL,
    flags BIT(3) NOT NULL,
    set_in POINT NULL,
    day_rate DECIMAL(6, 3) GENERATED ALWAYS AS (rental_rate / rental_days) VIRTUAL,
    slug VARCHAR(140) GENERATED ALWAYS AS (LOWER(REPLACE(title, ' ', '-'))) STORED,
    KEY (slug)
) CHARACTER SET utf8mb4;
CREATE TABLE actor (actor_id SMALLINT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(45) NOT NULL) CHARACTER SET utf8mb4;
CREATE TABLE film_actor (film_id SMALLINT UNSIGNED, actor_id SMALLINT UNSIGNED, PRIMARY KEY (film_id, actor_id));
CREATE TABLE rental (
    rental_id CHAR(36) NOT NULL PRIMARY KEY, film_id SMALLINT UNSIGNED, rented DATETIME(3) NOT NULL, due DATE NOT NULL
);
INSERT INTO film (title, release_year, rental_rate, rental_days, rating, features, flags, set_in) VALUES
    ('Amélie''s Ångström', 2001, 4.99, 7, 'PG-13', 'Trailers,Deleted Scenes', b'101',
        ST_GeomFromText('POINT(2.35 48.85)')),
    ('Plan 10', 1959, 0.99, 3, NULL, '', b'000', NULL);
INSERT INTO actor VALUES (1, 'Zoë 🐇'), (2, 'Đorđe');
INSERT INTO film_actor VALUES (1, 1), (1, 2), (2, 2);
INSERT INTO rental VALUES
    ('123e4567-e89b-12d3-a456-426614174000', 1, '2024-02-29 23:30:00.500', '2024-03-07'),
    ('123e4567-e89b-12d3-a456-426614174001', 2, '2024-03-01 00:30:00', '2024-03-04')
"""
TABLES = ("film", "actor", "film_actor", "rental", "review")
QUERIES = """
-- name: films(rating)
-- The films of a rating.
SELECT * FROM film WHERE rating = :rating

-- name: places(slug)
SELECT title, ST_AsGeoJSON(set_in) AS place FROM film WHERE slug = :slug

-- name: cast_of(film)
SELECT actor.name FROM film JOIN film_actor USING (film_id) JOIN actor USING (actor_id)
WHERE film_id = :film ORDER BY actor_id

-- name: rented(since, until)
SELECT rental_id, rented FROM rental WHERE rented >= :since AND due <= :until ORDER BY rented

-- name: rental(id)
SELECT film_id FROM rental WHERE rental_id = :id

-- name: pairs(least)
SELECT a.film_id FROM film AS a, film AS b WHERE a.film_id >= :least

-- name: huge(length)
SELECT REPEAT('x', :length) AS x FROM film

-- name: reviews()
SELECT * FROM review

-- name: runs()
SELECT UUID() AS run, COUNT(*) AS users FROM users

-- name: kept_runs()
SELECT UUID() AS run
"""
SETTINGS = """
[films.parameters]
rating = {type = "string", enum = ["G", "PG", "PG-13", "R"]}
[places]
json_columns = ["place"]
[places.parameters]
slug = {type = "string"}
[cast_of.parameters]
film = {type = "integer"}
[rented.parameters]
since = {type = "string", format = "date-time"}
until = {type = "string", format = "date", default = "9999-12-31"}
[rental.parameters]
id = {type = "string", format = "uuid"}
[pairs]
row_limit = 3
[pairs.parameters]
least = {type = "integer"}
[huge.parameters]
length = {type = "integer"}
[kept_runs]
cache = 600.0
"""


@pytest.fixture(scope="module")
def films(services: Services) -> Iterator[None]:
    with connect(services.database_url) as connection, connection.cursor() as cursor:
        for statement in SCHEMA.split(";\n"):
            cursor.execute(statement)
        yield
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")


@pytest.fixture(scope="module")
def own_worker(
    films: None, new_vhosts: Iterator[str], services: Services, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Process, str]:
    """A worker of these queries, and the URL of its broker."""
    folder: Path = tmp_path_factory.mktemp("queries")
    (folder / "films.sql").write_text(QUERIES)
    (folder / "films.toml").write_text(SETTINGS)
    broker = next(new_vhosts)
    settings = {**services_settings(services), "broker_url": broker, "queries": folder}
    return celery_worker(start, "tasks", "-P", "threads", "-c", "4", **settings), broker


@pytest.fixture(scope="module")
def descriptors() -> None:
    """As many as there may be, for this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="module")
def metrics() -> int:
    """The port of the server's metrics."""
    return free_port()


@pytest.fixture(scope="module")
def url(descriptors: None, own_worker: tuple[Process, str], metrics: int, start: Start) -> str:
    port = free_port()
    server = start("server", "server", port=port, metrics=f"127.0.0.1:{metrics}", broker_url=own_worker[1])
    return ready(server, port)


def rows(url: str) -> object:
    answer = fetch(url)
    assert answer.status == 200, answer
    return answer.json()["rows"]


def test_films_come_with_all_their_columns(url: str) -> None:
    point = base64.b64encode(struct.pack("<BIdd", 1, 1, 2.35, 48.85)).decode()
    film = {
        "film_id": 1, "title": "Amélie's Ångström", "release_year": 2001, "rental_rate": "4.99", "rental_days": 7,
        "rating": "PG-13", "features": "Trailers,Deleted Scenes", "flags": "BQ==", "set_in": point,
        "day_rate": "0.713", "slug": "amélie's-ångström",
    }  # fmt: skip
    assert rows(f"{url}/queries/films?rating=PG-13") == [film]
    assert rows(f"{url}/queries/films?rating=G") == []
    assert_problem(fetch(f"{url}/queries/films?rating=X"), 400)


def test_a_place_may_be_geojson(url: str) -> None:
    place = {"type": "Point", "coordinates": [2.35, 48.85]}
    assert rows(f"{url}/queries/places?slug=am%C3%A9lie's-%C3%A5ngstr%C3%B6m") == [
        {"title": "Amélie's Ångström", "place": place}
    ]
    assert rows(f"{url}/queries/places?slug=plan-10") == [{"title": "Plan 10", "place": None}]


def test_tables_are_joined(url: str) -> None:
    assert rows(f"{url}/queries/cast_of?film=1") == [{"name": "Zoë 🐇"}, {"name": "Đorđe"}]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("since=2024-02-29T23:30:00.5Z", 2),
        ("since=2024-02-29T23:30:00.501Z", 1),
        ("since=2024-03-01T01:30:00%2B02:00", 2),
        ("since=2024-03-01T01:30:00%2B01:00", 1),
        ("since=2024-02-01T00:00:00Z&until=2024-03-04", 1),
    ],
)
def test_rentals_are_found_by_their_time_in_any_zone(url: str, parameters: str, found: int) -> None:
    given = rows(f"{url}/queries/rented?{parameters}")
    assert isinstance(given, list) and len(given) == found


def test_a_rental_is_found_by_its_uuid(url: str) -> None:
    assert rows(f"{url}/queries/rental?id=123e4567-e89b-12d3-a456-426614174001") == [{"film_id": 2}]


@pytest.mark.parametrize(
    "path", ["rented?since=nonsense", "rented?since=2024-02-29", "rented?since=2024-02-29T00:00:00Z&until=today",
             "rental?id=1"],
)  # fmt: skip
def test_a_text_of_another_format_never_reaches_a_worker(url: str, path: str) -> None:
    assert "is not a" in assert_problem(fetch(f"{url}/queries/{path}"), 400)["detail"]


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("pairs?least=0", "more than 3 rows"),
        ("huge?length=10000000", "more than 16777216 bytes"),
        ("huge?length=8388608", "more than 16777216 bytes"),  # with the names of the columns
    ],
)
def test_an_answer_that_is_too_large_names_its_limit_and_a_way_out(url: str, path: str, limit: str) -> None:
    document = assert_problem(fetch(f"{url}/queries/{path}"), 422)
    assert document["type"] == "urn:problem-type:nowait:answer-too-large"
    assert limit in document["detail"] and "Accept: application/x-ndjson" in document["detail"]
    assert len(fetch(f"{url}/queries/pairs?least=2").json()["rows"]) == 2


def test_a_query_that_cannot_work_is_listed_and_503_until_it_works(
    url: str, own_worker: tuple[Process, str], services: Services, start: Start
) -> None:
    assert "query reviews cannot work: 1146 Table" in printed(own_worker[0])
    listed = {query["name"]: query["broken"] for query in fetch(f"{url}/queries").json()["queries"]}
    assert {name for name, broken in listed.items() if broken} == {"reviews"}
    answer = fetch(f"{url}/queries/reviews")
    assert assert_problem(answer, 503)["type"] == "urn:problem-type:nowait:query-broken"
    assert answer.headers["retry-after"] == "60" and b"1146" not in answer.body
    with connect(services.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE review (review_id INT PRIMARY KEY)")
        assert rows(f"{url}/queries/reviews") == []
        # A server that lists the queries now finds none of them broken.
        port = free_port()
        other = ready(start("server", "server", port=port, broker_url=own_worker[1]), port)
        assert not any(query["broken"] for query in fetch(f"{other}/queries").json()["queries"])
        # From now on, that its table is away is a failure like any other.
        cursor.execute("DROP TABLE review")
        assert assert_problem(fetch(f"{url}/queries/reviews"), 500)["type"].endswith(":task-failed")


@pytest.mark.gen_test
async def test_of_a_thousand_equal_slow_queries_at_once_the_database_sees_one(
    url: str, metrics: int, hold: Hold
) -> None:
    volley = Volley()
    with hold() as held:
        volley.send(f"{url}/queries/runs", times=1000)
        await soon(lambda: scrape(metrics)["nowait_http_requests_in_flight"] == 1000)
        assert held() == 1 and not volley.done
    answers = [answer for _, answer in await volley.all()]
    assert {answer.status for answer in answers} == {200}
    # Another run would have given its callers another id.
    assert len({answer.body for answer in answers}) == 1
    assert sum(answer.headers["cache-status"].endswith("; collapsed") for answer in answers) == 999


def test_an_answer_that_may_be_given_again_is_until_a_client_wants_its_own(url: str) -> None:
    first, again = (fetch(f"{url}/queries/kept_runs") for _ in range(2))
    assert (again.status, again.body, again.headers["cache-control"]) == (200, first.body, "max-age=600")
    assert fetch(f"{url}/queries/kept_runs", headers={"If-None-Match": first.headers["etag"]}).status == 304
    anew = fetch(f"{url}/queries/kept_runs", headers={"Cache-Control": "no-cache"})
    assert anew.body != first.body
    assert fetch(f"{url}/queries/kept_runs").body == anew.body
