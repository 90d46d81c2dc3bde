"""docs/webhooks.md followed: its receivers get messages of a server; its figures are those of the code."""

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from deploy.local.process import Process, free_port, listens
from deploy.local.services import Services
from server.jobs.document import summary
from server.jobs.model import Webhook
from server.webhooks import outcome, slots
from server.webhooks.addresses import AllowList
from server.webhooks.message import MAX_RESULT, body, message_id
from server.webhooks.resolver import GuardedResolver
from server.webhooks.sender import Sender
from server.webhooks.signing import Signer, new_secret
from server.webhooks.slots import Standing
from server.webhooks.url import check
from tests import programs
from tests.conftest import ROOT, Start, printed, ready, services_settings
from tests.docs.conftest import Launch
from tests.docs.pages import PAGES, blocks, files, rows
from tests.http import fetch
from tests.system.conftest import wait_until
from tests.webhooks.test_messages import JOB

PAGE = "docs/webhooks.md"
PACKAGE = "standardwebhooks@1.1.1"


async def receives(url: str, old: str, new: str) -> None:
    """A receiver with the secret `old` takes what is signed with both, once or again, and nothing else."""
    allowed = AllowList.parse("http://127.0.0.1:" + url.split(":")[2].strip("/"))
    assert check(url, allowed) == url
    for secrets, expected in (([new, old], "http-204"), ([new], "http-401")):
        each = Sender(GuardedResolver(allowed), Signer(secrets))
        for _ in range(2):
            assert (await each.send(url, message_id(JOB), body(JOB, True))).kind == expected
        each.close()


def run(launch: Launch, tmp_path: Path, *command: str) -> None:
    """Start a receiver, and send to it."""
    port, old, new = free_port(), new_secret(), new_secret()
    receiver = launch("receiver", *command, cwd=tmp_path, WEBHOOK_SECRET=old, PORT=str(port))
    receiver.wait_until(lambda: listens(port), 30.0)
    asyncio.run(receives(f"http://127.0.0.1:{port}/", old, new))


def test_the_receiver_in_python_keeps_each_message_once(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(files(PAGE)["receiver.py"])
    run(launch, tmp_path, sys.executable, "receiver.py")
    with sqlite3.connect(tmp_path / "messages.db") as messages:
        kept = messages.execute("SELECT id, body FROM messages").fetchall()
    messages.close()
    assert kept == [("job_0193", body(JOB, True).decode())]


def test_the_result_of_a_job_arrives_at_the_receiver(
    services: Services, worker: Process, start: Start, launch: Launch, tmp_path: Path
) -> None:
    """The page's own way: its settings, its receiver, its request."""
    port, hooks, (_, request) = free_port(), free_port(), blocks(PAGE, "sh")
    secret = subprocess.run(
        [sys.executable, "-m", "server.webhooks"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    (tmp_path / "receiver.py").write_text(files(PAGE)["receiver.py"])
    receiver = launch("receiver", sys.executable, "receiver.py", cwd=tmp_path, WEBHOOK_SECRET=secret, PORT=str(hooks))
    receiver.wait_until(lambda: listens(hooks), 30.0)
    settings = {"webhook_secrets": secret, "webhook_allow": f"http://127.0.0.1:{hooks}", **services_settings(services)}
    server = start("server", "server", port=port, **settings)
    ready(server, port)
    programs.require("curl")
    command = request.replace(":8000/", f":{port}/").replace(":9000/", f":{hooks}/")
    posted = json.loads(subprocess.run(["sh", "-c", f"exec {command}"], capture_output=True, check=True).stdout)
    with sqlite3.connect(tmp_path / "messages.db") as messages:
        wait_until(lambda: messages.execute("SELECT COUNT(*) FROM messages").fetchone() == (1,))
        ((kept_id, kept),) = messages.execute("SELECT id, body FROM messages").fetchall()
    messages.close()
    message = json.loads(kept)
    assert kept_id == f"job_{posted['id']}"
    assert (message["type"], message["data"]["result"], message["data"]["once"]) == ("job.succeeded", 3, True)
    url = f"http://127.0.0.1:{port}/jobs/{posted['id']}"
    wait_until(lambda: fetch(url).json()["webhook"]["state"] == "delivered")
    assert server.stop() == 0
    assert "Traceback" not in printed(server)


def test_the_receiver_in_node_verifies_with_the_official_package(launch: Launch, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000"]
    installed = subprocess.run(
        [npm, "install", *options, PACKAGE], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    if installed.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed: {installed.stderr.strip()[-200:]}")
    (tmp_path / "receiver.mjs").write_text(blocks(PAGE, "js")[0])
    run(launch, tmp_path, node, "receiver.mjs")


def test_the_figures_are_those_of_the_code() -> None:
    text = re.sub(r"\s+", " ", PAGES[PAGE])
    hours = [f"{pause / 3600:.0f}" for pause in outcome.PAUSES[3:]]
    assert f"after 5 seconds, 5 minutes, 30 minutes, {', '.join(hours[:-1])} and {hours[-1]} hours" in text
    assert outcome.PAUSES[:3] == (5.0, 300.0, 1800.0) and sum(outcome.PAUSES) // 3600 == 31
    assert f"more than {MAX_RESULT:,} bytes" in text
    each = slots._PER_HOST
    assert f"sends {slots.TOTAL} at once, {each[Standing.GOOD]} to one host" in text
    assert f"share {slots._SHARES[Standing.FAILED]} of these" in text
    assert f"nothing is known of {slots._SHARES[Standing.NEW]}" in text
    assert (each[Standing.FAILED], each[Standing.NEW]) == (1, 2)


@pytest.mark.parametrize("entry", [entry for cells in rows(PAGE, "Addresses") for entry in cells[0].split(", ")])
def test_an_entry_of_the_page_is_one(entry: str) -> None:
    assert AllowList.parse(entry.strip("`")).entries


def test_the_members_of_a_webhook_are_those_of_the_document() -> None:
    section = PAGES[PAGE].partition("The job shows it as `webhook`:")[2]
    named = re.findall(r"^\| `(\w+)`", section.partition("`POST")[0], re.MULTILINE)
    shown = summary(replace(JOB, webhook=Webhook("https://a.example/", next=datetime(2026, 1, 1))), None)["webhook"]
    assert named == list(shown)
