"""Jobs that have ended, moved to a file: each is there once, whatever ends the command."""

import errno
import json
import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nowait.jobs import archive as archive_module
from nowait.jobs.__main__ import main
from nowait.jobs.archive import archive
from nowait.jobs.table import State
from tests.conftest import ROOT
from tests.server.conftest import Rows, rows

__all__ = ["rows"]
OLD, BEFORE, NEW = datetime(2026, 1, 1), datetime(2026, 6, 1), datetime(2026, 7, 1)
FINAL = [state for state in State if state.final]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def left(rows: Rows) -> set[str]:
    return {row["id"] for row in rows.run("SELECT id FROM jobs")}


def test_what_is_old_and_in_the_state_is_moved_and_all_else_stays(
    database_url: str, rows: Rows, tmp_path: Path
) -> None:
    failed = {rows.add(state="failed", finished=OLD, attempt=2) for _ in range(120)}
    kept = {
        rows.add(state="failed", finished=NEW),
        rows.add(state="succeeded", finished=OLD),
        rows.add(state="running"),
        rows.add(),
    }
    counts: list[int] = []
    assert archive(database_url, tmp_path / "a", BEFORE, [State.FAILED], counts.append) == 120
    assert counts == [50, 100, 120]
    assert left(rows) == kept
    assert {line["id"] for line in lines(tmp_path / "a")} == failed and len(lines(tmp_path / "a")) == 120
    assert lines(tmp_path / "a")[0]["finished"] == "2026-01-01T00:00:00.000000Z"


def test_a_line_has_all_of_a_job_and_its_delivery(database_url: str, rows: Rows, tmp_path: Path) -> None:
    job_id = rows.add(
        state="succeeded", finished=OLD, parameters='{"s": "Zoë"}', result='{"n":\n 1.50}', webhook="https://a/",
        history='[{"attempt": 1}]',
    )  # fmt: skip
    rows.run("INSERT INTO deliveries (job_id, state, attempt, outcome) VALUES (%s, 'delivered', 3, 'http-200')", job_id)
    assert archive(database_url, tmp_path / "a", BEFORE, FINAL) == 1
    (line,) = lines(tmp_path / "a")
    assert (line["parameters"], line["result"], line["history"]) == ({"s": "Zoë"}, {"n": 1.5}, [{"attempt": 1}])
    assert (line["delivery_state"], line["delivery_attempt"], line["delivery_outcome"]) == ("delivered", 3, "http-200")
    assert b'"result":{"n":  1.50}' in (tmp_path / "a").read_bytes()
    assert not rows.run("SELECT 1 FROM deliveries WHERE job_id = %s", job_id)


def test_a_job_whose_webhook_is_pending_stays(database_url: str, rows: Rows, tmp_path: Path) -> None:
    not_begun, pending = (rows.add(state="failed", finished=OLD, webhook="https://a.example/") for _ in range(2))
    rows.run("INSERT INTO deliveries (job_id, state) VALUES (%s, 'pending')", pending)
    assert archive(database_url, tmp_path / "a", BEFORE, FINAL) == 0
    assert {not_begun, pending} <= left(rows)


def test_who_was_killed_before_the_commit_goes_on_without_a_second_line(
    database_url: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {rows.add(state="failed", finished=OLD) for _ in range(70)}

    def killed(job_ids: list[str]) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive_module.protocol, "prune", killed)
        with pytest.raises(KeyboardInterrupt):
            archive(database_url, tmp_path / "a", BEFORE, FINAL)
    assert left(rows) == ids and len(lines(tmp_path / "a")) == 50
    with (tmp_path / "a").open("ab") as file:
        file.write(b'{"id":"cut o')
    assert archive(database_url, tmp_path / "a", BEFORE, FINAL) == 70
    assert sorted(line["id"] for line in lines(tmp_path / "a")) == sorted(ids)


@pytest.mark.parametrize(
    "text", ["a letter\n", "a letter", '{"name": "x"}\n', "[1]\n", "1\n", '{"id":"a"}\nhalf', "\n", "\xff\n"]
)
def test_a_file_that_is_no_archive_is_left_as_it_is(database_url: str, rows: Rows, tmp_path: Path, text: str) -> None:
    job_id = rows.add(state="failed", finished=OLD)
    (tmp_path / "a").write_text(text, "latin-1")
    with pytest.raises(archive_module.ArchiveError, match="/a is no archive of jobs$"):
        archive(database_url, tmp_path / "a", BEFORE, FINAL)
    assert (tmp_path / "a").read_text("latin-1") == text and job_id in left(rows)


def test_a_second_run_with_the_same_file_does_nothing(database_url: str, rows: Rows, tmp_path: Path) -> None:
    ids = {rows.add(state="failed", finished=OLD) for _ in range(60)}
    refused = []

    def progress(moved: int) -> None:
        with pytest.raises(archive_module.ArchiveError, match="is being written by another run$"):
            archive(database_url, tmp_path / "a", BEFORE, FINAL)
        refused.append(moved)

    assert archive(database_url, tmp_path / "a", BEFORE, FINAL, progress) == 60
    assert refused == [50, 60] and {line["id"] for line in lines(tmp_path / "a")} == ids


def test_the_name_of_a_new_file_is_on_the_disk_before_anything_is_deleted(
    database_url: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, int]] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), len(left(rows))))
        fsync(descriptor)

    rows.add(state="failed", finished=OLD)
    monkeypatch.setattr(os, "fsync", noting)
    archive(database_url, tmp_path / "a", BEFORE, FINAL)
    assert synced == [(True, 1), (False, 1)]


def test_nothing_is_deleted_whose_line_is_not_on_the_disk(
    database_url: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job_id = rows.add(state="failed", finished=OLD)
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(archive_module.ArchiveError, match="cannot be written: No space left on device$"):
        archive(database_url, tmp_path / "a", BEFORE, FINAL)
    assert job_id in left(rows)


def command(*arguments: str, url: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nowait.jobs", "archive", *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=60, env={**os.environ, "NOWAIT_DATABASE_URL": url},
    )  # fmt: skip


def test_the_command_prints_what_it_has_done(database_url: str, rows: Rows, tmp_path: Path) -> None:
    rows.add(state="failed", finished=OLD)
    file = str(tmp_path / "a")
    done = command("--before", "2026-06-01", "--state", "failed", file, url=database_url)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(f"1 jobs are in {file} now, and not in the database any more\n")
    assert command("--before", "2026-06-01T00:00:00Z", file, url=database_url).returncode == 0


@pytest.mark.parametrize(
    "arguments", [["file"], ["--before", "soon", "file"], ["--before", "2026-06-01", "--state", "running", "file"]]
)
def test_a_command_that_cannot_be_understood_moves_nothing(arguments: list[str]) -> None:
    assert command(*arguments, url="mysql://u:p@127.0.0.1:1/n").returncode == 2


def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    done = command("--before", "2026-06-01", str(tmp_path / "a"), url="mysql://u:secret@127.0.0.1:1/n")
    assert done.returncode == 1 and done.stderr.startswith("the database 127.0.0.1:1 cannot be used: ")
    assert done.stderr.count("\n") == 1 and "secret" not in done.stderr


def test_an_error_has_a_line_of_its_own_behind_that_of_the_progress(
    database_url: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(job_ids: list[str]) -> Any:
        if len(job_ids) < archive_module.BATCH:
            raise archive_module.ArchiveError("an error")
        return prune(job_ids)

    prune = archive_module.protocol.prune
    for _ in range(60):
        rows.add(state="failed", finished=OLD)
    monkeypatch.setattr(archive_module.protocol, "prune", fails)
    monkeypatch.setenv("NOWAIT_DATABASE_URL", database_url)
    monkeypatch.setattr(sys, "argv", ["archive", "archive", "--before", "2026-06-01", str(tmp_path / "a")])
    assert main() == 1
    assert capsys.readouterr().err == "\r50 jobs moved\nan error\n"
