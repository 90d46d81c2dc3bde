"""`python -m server.schedules`: the schedules of a file, on a server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.fake_schedules import FakeScheduleStore
from tests.server.jobs_site import Site, serving
from tests.server.key_files import Keys

pytestmark = pytest.mark.gen_test

FILE = """
[night]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
job = {name = "slow_count", parameters = {steps = 3}}

[often]
every = 60
overlap = "skip"

[often.job]
name = "mail.send"
"""

Run = Callable[..., Any]


@asynccontextmanager
async def site(folder: Path, **settings: Any) -> AsyncIterator[tuple[Site, Run]]:
    """A server, and what runs the command; that returns the exit status and what is printed."""
    async with serving(FakeStore(), FakePublisher(), FakeScheduleStore(), **settings) as served:

        async def run(text: str, *arguments: str) -> tuple[int | None, str]:
            file = folder / "schedules.toml"
            file.write_text(text)
            command = [sys.executable, "-m", "server.schedules", "--server", f"http://127.0.0.1:{served.port}/"]
            process = await asyncio.create_subprocess_exec(
                *command, str(file), *arguments, cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            printed, _ = await process.communicate()
            return process.returncode, printed.decode()

        yield served, run


async def names(served: Site) -> list[str]:
    return [each["name"] for each in json.loads((await served.fetch("/schedules")).body)["schedules"]]


async def one(served: Site, name: str) -> Any:
    return json.loads((await served.fetch(f"/schedules/{name}")).body)


async def test_without_a_terminal_and_yes_it_only_shows_what_differs(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, run):
        status, printed = await run(FILE)
        assert status == 1
        assert '+++ file: night' in printed and '+  "cron": "30 2 * * *",' in printed
        assert await names(served) == []


async def test_a_key_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(tmp_path / "keys.json")
    key = keys.add(scopes="schedules jobs.write")["Authorization"].removeprefix("Bearer ")
    async with site(tmp_path, keys=keys.path) as (_, run):
        status, printed = await run(FILE, "--yes")
        assert (status, "401, A key is expected" in printed) == (2, True)
        monkeypatch.setenv("NOWAIT_KEY", key)
        status, printed = await run(FILE, "--yes")
        assert (status, "night: made" in printed) == (0, True)


async def test_what_differs_is_changed_and_then_nothing_does(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, run):
        status, printed = await run(FILE, "--yes")
        assert status == 0 and printed.endswith("night: made\noften: made\n")
        assert await names(served) == ["night", "often"]
        assert await run(FILE) == (0, "nothing differs\n")
        status, printed = await run(FILE.replace("60", "90"), "--yes")
        assert status == 0 and printed.endswith("often: changed\n")
        assert '-  "every": 60.0,\n+  "every": 90.0,\n' in printed and "night" not in printed


async def test_a_pause_remains(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, run):
        await run(FILE, "--yes")
        await served.fetch("/schedules/night/pause", method="POST")
        assert await run(FILE, "--yes") == (0, "nothing differs\n")
        assert (await one(served, "night"))["enabled"] is False
        status, _ = await run(FILE.replace("[often]", "enabled = true\n[often]"), "--yes")
        assert status == 0 and (await one(served, "night"))["enabled"] is True


async def test_others_remain_unless_they_are_to_be_pruned(tmp_path: Path) -> None:
    night = FILE.partition("[often]")[0]
    async with site(tmp_path) as (served, run):
        await run(FILE, "--yes")
        assert await run(night, "--yes") == (0, "nothing differs\n")
        status, printed = await run(night, "--yes", "--prune")
        assert status == 0 and printed.endswith("often: deleted\n")
        assert await names(served) == ["night"]


async def test_nothing_is_changed_unless_all_is_taken(tmp_path: Path) -> None:
    bad = FILE.replace("Europe/Berlin", "Nowhere") + '\n["a b"]\nevery = 1\njob = {name = "mail.send"}\n'
    async with site(tmp_path) as (served, run):
        status, printed = await run(bad, "--yes")
        assert status == 2
        night, name = printed.splitlines()
        assert night.startswith("night: 422, timezone: a name") and name.startswith("a b: 400, name: 1 to 100")
        assert await names(served) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [("x", "Expected"), ("every = 5", "every stands in no table"), ("[a]\nb = 2026-01-01", "are written as strings")],
)
async def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str, says: str) -> None:
    async with site(tmp_path) as (_, run):
        status, printed = await run(text, "--yes")
        assert status == 2 and says in printed and "Traceback" not in printed


@pytest.mark.parametrize("url", ["foo", "http://a b", "ftp://a", "http://"])
async def test_what_is_no_url_of_a_server_is_one_line(tmp_path: Path, url: str) -> None:
    async with site(tmp_path) as (_, run):
        status, printed = await run(FILE, "--server", url)
        assert (status, printed.count("\n")) == (2, 1)
        assert printed.startswith(f"{url}: the URL of a server is expected")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("HTTP/1.0 200 OK\r\n\r\n{}", "night: the answer is no schedule"),
        ("HTTP/1.0 200 OK\r\n\r\n%s", "has no ETag"),
        ("nonsense\r\n", "night: no answer from http://127.0.0.1:"),
    ],
)
async def test_what_answers_otherwise_than_a_server_of_schedules_is_refused(
    tmp_path: Path, answer: str, says: str
) -> None:
    async with site(tmp_path) as (served, run):
        await run(FILE, "--yes")
        text = answer.replace("%s", json.dumps(await one(served, "night")))

        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(text.encode())
            writer.close()

        server = await asyncio.start_server(other, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            status, printed = await run(FILE, "--server", url)
        assert status == 2 and says in printed and "Traceback" not in printed


async def test_a_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    async with site(tmp_path) as (served, run):
        served.http.stop()
        await served.http.close_all_connections()
        status, printed = await run(FILE, "--yes")
        assert status == 2 and "no answer from http://127.0.0.1:" in printed and "Traceback" not in printed
