"""The page of the document, in a browser."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests import programs
from tests.conftest import Start, ready, services_settings
from tests.http import fetch
from tests.page.conftest import violations
from tests.server.key_files import Keys

pytestmark = pytest.mark.timeout(300)
MINUTE = 60_000.0  # milliseconds

Docs = Callable[..., AbstractContextManager[Page]]


@pytest.fixture
def docs(browser: Browser, server_url: str) -> Docs:
    """Opens the page, `with docs(**options) as page`; options as for Playwright's contexts.

    Behind the block it has to have been clean: no error on the console, nothing that its policy has refused, no request
    to anywhere else. `expected` is a part of what may be on the console all the same; `url` is that of another server.
    """

    @contextmanager
    def open_docs(
        hash: str = "", expected: str | None = None, url: str = server_url, **options: Any
    ) -> Iterator[Page]:
        problems: list[str] = []
        context = browser.new_context(**options)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda each: each.url.startswith(f"{url}/") or problems.append(each.url))
        page.add_init_script(
            "window.refused = [];"
            "addEventListener('securitypolicyviolation', (event) => refused.push(event.violatedDirective));"
        )
        try:
            page.goto(f"{url}/docs{hash}")
            expect(page.locator("#found")).to_contain_text("requests of", timeout=MINUTE)
            yield page
            assert page.evaluate("window.refused") == []
            assert [each for each in problems if expected is None or expected not in each] == []
        finally:
            context.close()

    return open_docs


def opened(page: Page, operation: str) -> Locator:
    """An operation, opened by its summary."""
    found = page.locator(f"#{operation}")
    found.locator("> summary").click()
    return found


def test_the_page_has_each_operation_of_the_document_once(docs: Docs, server_url: str) -> None:
    with docs() as page:
        shown = page.locator(".operation").evaluate_all("(all) => all.map(({ id }) => id)")
        texts = page.locator(".operation > summary").all_inner_texts()
    paths = json.loads(fetch(f"{server_url}/openapi.json").body)["paths"]
    ids = [each["operationId"] for methods in paths.values() for each in methods.values()]
    assert sorted(shown) == sorted(ids)
    assert any("/queries/count_users" in text for text in texts)


def test_nobody_is_kept_out(docs: Docs) -> None:
    with docs() as page:
        for operation in ("get_query_users", "add_job", "put_schedule", "events", "consume"):
            opened(page, operation)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == []
        page.set_viewport_size({"width": 320, "height": 700})
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_request_is_found_opened_and_sent_by_the_keyboard_alone(docs: Docs) -> None:
    with docs() as page:
        page.locator("#filter input").focus()
        page.keyboard.type("queries/count")
        expect(page.locator("#found")).to_have_text(re.compile("^2 requests of"))
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        card = page.locator("#get_query_count_users")
        card.locator("form input").first.focus()
        page.keyboard.press("Enter")
        expect(card.locator(".answer .state")).to_contain_text("200 OK, in", timeout=MINUTE)
        expect(card.locator(".answer pre").last).to_contain_text('"query": "count_users"', timeout=MINUTE)
        assert page.evaluate("document.activeElement.textContent") == "Send"


def test_parameters_go_where_they_belong(docs: Docs) -> None:
    with docs("#users", "status of 400") as page:
        card = page.locator("#users")
        card.get_by_role("textbox", name="flag").fill("1")
        card.get_by_role("textbox", name="delay").fill("61")
        card.get_by_text("Send").click()
        expect(card.locator(".answer .state")).to_contain_text("400", timeout=MINUTE)
        card.get_by_role("textbox", name="delay").fill("")
        card.get_by_text("Send").click()
        expect(card.locator(".answer pre").last).to_contain_text('"flag": 1', timeout=MINUTE)
        query = opened(page, "get_query_users")
        query.get_by_role("textbox", name="flag").fill("0")
        query.get_by_label("Accept").select_option("text/csv")
        query.get_by_text("Send").click()
        expect(query.locator(".answer pre").last).to_contain_text('"id","flag","name"', timeout=MINUTE)


def test_a_job_of_each_kind_is_filled_in_and_sent(docs: Docs) -> None:
    with docs("#add_job") as page:
        card = page.locator("#add_job")
        card.get_by_label("kind").select_option(label="slow_count")
        assert json.loads(card.locator("textarea").input_value()) == {"name": "slow_count", "parameters": {"steps": 1}}
        card.get_by_text("Send").click()
        expect(card.locator(".answer .state")).to_contain_text("202 Accepted", timeout=MINUTE)
        expect(card.locator(".answer pre").first).to_contain_text("location: /jobs/", timeout=MINUTE)


def test_what_is_copied_does_the_same_in_a_shell(docs: Docs) -> None:
    programs.require("curl")
    with docs("#add_job", permissions=["clipboard-read", "clipboard-write"]) as page:
        card = page.locator("#add_job")
        card.get_by_role("textbox", name="Idempotency-Key").fill("it's one")
        card.locator("textarea").fill('{"name": "slow_count", "parameters": {"steps": 1}}')
        card.get_by_text("copy as curl").click()
        expect(card.locator(".curl")).to_have_text("copied")
        command = page.evaluate("navigator.clipboard.readText()")
    done = [subprocess.run(f"{command} -s", shell=True, capture_output=True, timeout=30).stdout for _ in range(2)]
    first, second = (json.loads(each) for each in done)
    assert first["id"] == second["id"]


def test_events_are_shown_as_they_come_until_they_are_stopped(docs: Docs, server_url: str) -> None:
    with docs("#topic_events") as page:
        card = page.locator("#topic_events")
        card.get_by_text("Send").click()
        expect(card.locator(".answer pre").last).to_contain_text("id: ", timeout=MINUTE)
        publish = opened(page, "publish")
        publish.get_by_text("Send").click()
        expect(publish.locator(".answer .state")).to_contain_text("202 Accepted", timeout=MINUTE)
        expect(card.locator(".answer pre").last).to_contain_text('"topic": "news"', timeout=MINUTE)
        card.get_by_text("Stop").click()
        expect(card.locator(".answer .state")).to_have_text("Stopped.", timeout=MINUTE)


def test_a_key_has_the_page_show_and_do_what_it_is_for(
    docs: Docs, services: Services, worker: Process, start: Start, tmp_path: Path
) -> None:
    keys = Keys(tmp_path / "keys.json")
    key = keys.add("one", "queries:count_users")["Authorization"].removeprefix("Bearer ")
    port = free_port()
    server = start("server", "server", port=port, keys=keys.path, **services_settings(services))
    with docs(url=ready(server, port), expected="status of 401") as page:
        assert page.locator("#get_query_count_users").count() == 0
        field = page.get_by_role("textbox", name="Your key")
        field.fill("none")
        page.get_by_text("Use it").click()
        expect(page.locator("#found")).to_contain_text("There is no such key", timeout=MINUTE)
        field.fill(f" {key}")
        field.press("Enter")
        card = page.locator("#get_query_count_users")
        card.locator("> summary").click(timeout=MINUTE)
        assert page.locator("#get_query_users").count() == 0
        card.get_by_text("Send").click()
        expect(card.locator(".answer .state")).to_contain_text("200 OK, in", timeout=MINUTE)
        assert violations(page) == []
        stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        assert key not in page.evaluate(stored)
    assert server.stop() == 0
