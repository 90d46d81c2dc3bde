"""A browser: Debian's Chromium, driven by Playwright, and the live page in it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import resources
from typing import Any

import amqp
import kombu
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deploy.local.errors import LocalError
from deploy.local.services import Services
from tests import programs

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
_PATIENCE = 30_000  # milliseconds for whatever is to come
Opened = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window. Where it cannot be had the tests are skipped."""
    try:
        programs.require("chromium")
        program = programs.path("chromium")
        # Ubuntu's package is a stub that wants a snap.
        subprocess.run([program, "--version"], check=True, capture_output=True, timeout=60)
    except (LocalError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"there is no Chromium: {error}")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        # Its sandbox wants rights that root in a container does not have; it sees no page but the server's.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def empty_queue(services: Services) -> None:
    """No message is in the queue `parcels`."""
    with kombu.Connection(services.broker_url) as connection, suppress(amqp.NotFound):
        connection.default_channel.queue_purge("parcels")


@pytest.fixture
def opened(browser: Browser, server_url: str) -> Opened:
    """Opens the live page, `with opened(**options) as page`; options as for Playwright's contexts.

    Behind the block the page has to have been clean: no error on the console, nothing that its policy has refused, no
    request to anywhere else. `expected` is a part of what may be on the console all the same; `url` is that of another
    server.
    """

    @contextmanager
    def open_page(expected: str | None = None, url: str = server_url, **options: Any) -> Iterator[Page]:
        problems: list[str] = []
        context = browser.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(_PATIENCE)
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: _is_elsewhere(request.url, url) and problems.append(request.url))
        page.add_init_script(
            "window.refused = [];"
            "addEventListener('securitypolicyviolation', (event) => refused.push(event.violatedDirective));"
        )
        try:
            page.goto(url)
            page.locator("#status[data-state=live]").wait_for()
            yield page
            assert page.evaluate("window.refused") == []
            assert [each for each in problems if expected is None or expected not in each] == []
        finally:
            context.close()

    return open_page


def _is_elsewhere(address: str, url: str) -> bool:
    return not address.startswith((f"{url}/", f"blob:{url}/", "data:"))


def violations(page: Page) -> list[str]:
    """What axe has against the page as it is."""
    # As a script of the page, its policy would refuse it.
    if page.evaluate("!window.axe"):
        page.evaluate(AXE)
    found = page.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
