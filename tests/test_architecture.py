"""The arrows: which module may import which. A module that is not listed fails."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = ("server", "tasks", "deploy", "tests")

# Standard library apart, these are all imports of each module.
ALLOWED: dict[str, set[str]] = {
    "server": set(),
    "server.__main__": {
        "tornado", "server.app", "server.broker", "server.processes", "server.settings", "server.watchdog",
    },
    "server.app": {
        "tornado", "server.body", "server.catalogue", "server.comparison", "server.handlers", "server.handlers.base",
        "server.settings",
    },
    "server.body": {"tornado"},
    "server.broker": {"celery", "server.bridge", "server.settings"},
    "server.catalogue": {"jsonschema", "server.bridge.errors"},
    "server.comparison": {"sqlalchemy"},
    "server.deadline": set(),
    "server.prefer": set(),
    "server.problem": {"server.bridge"},
    "server.processes": set(),
    "server.settings": set(),
    "server.watchdog": set(),
    "server.handlers": set(),
    "server.handlers.base": {
        "tornado", "server", "server.body", "server.bridge.errors", "server.catalogue", "server.deadline",
    },
    "server.handlers.comparison": {
        "server.bridge.errors", "server.comparison", "server.handlers.base", "server.handlers.users",
    },
    "server.handlers.health": {"server.bridge", "server.handlers.base"},
    "server.handlers.queries": {
        "tornado", "server.bridge.errors", "server.catalogue", "server.handlers.base",
    },
    "server.handlers.users": {"tornado", "server.handlers.base"},
    "server.bridge": {"server.bridge.bridge", "server.bridge.call", "server.bridge.errors"},
    "server.bridge.bridge": {
        "celery", "server.bridge", "server.bridge.call", "server.bridge.calls", "server.bridge.connection",
        "server.bridge.errors", "server.bridge.link", "server.bridge.messages", "server.bridge.requests",
    },
    "server.bridge.call": {"server.bridge.requests"},
    "server.bridge.calls": {"server.bridge.errors"},
    "server.bridge.confirms": set(),
    "server.bridge.connection": {"amqp", "kombu", "server.bridge", "server.bridge.stream"},
    "server.bridge.errors": set(),
    "server.bridge.fake": {"server.bridge.call", "server.bridge.calls", "server.bridge.errors"},
    "server.bridge.link": {
        "amqp", "celery", "server.bridge", "server.bridge.confirms", "server.bridge.connection",
        "server.bridge.messages",
    },
    "server.bridge.messages": set(),
    "server.bridge.requests": {"amqp", "celery", "kombu", "server.bridge.messages"},
    "server.bridge.protocol": set(),
    "server.bridge.stream": set(),
    "tasks": {"tasks.app"},
    "tasks.app": {"celery", "tasks.broker", "tasks.catalogue", "tasks.settings"},
    "tasks.broker": {"kombu"},
    "tasks.catalogue": {"aiosql", "jsonschema", "sqlalchemy", "tomli"},
    "tasks.channels": {"amqp", "celery"},
    "tasks.consumer": {"amqp", "celery", "kombu", "tasks.broker", "tasks.channels", "tasks.envelope", "tasks.watchdog"},
    "tasks.database": {"sqlalchemy"},
    "tasks.deadline": {"celery"},
    "tasks.envelope": {"celery"},
    "tasks.queries": {"tasks.app", "tasks.database", "tasks.deadline", "tasks.statements", "tasks.values"},
    "tasks.statements": {"sqlalchemy", "tasks.database"},
    "tasks.results": {"amqp", "celery", "kombu", "tasks.broker", "tasks.channels"},
    "tasks.settings": set(),
    "tasks.values": set(),
    "tasks.watchdog": set(),
}

# Decisions without I/O: no socket, no loop, no clock.
PURE = ("calls", "confirms", "errors", "messages", "protocol", "requests")
IMPURE_LIBRARIES = {"asyncio", "socket", "ssl", "threading", "time", "select", "concurrent"}


def modules() -> dict[str, Path]:
    """Every module of the two packages, by name."""
    found = {}
    for package in ("server", "tasks"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """What a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
    return names


def test_every_module_is_listed_and_every_listed_module_is_there() -> None:
    assert modules().keys() == ALLOWED.keys()


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_module_imports_only_what_it_may(name: str) -> None:
    import sys

    foreign = set()
    for imported in imports(modules()[name]):
        top = imported.partition(".")[0]
        if top in OWN:
            foreign.add(imported)
        elif top not in sys.stdlib_module_names:
            foreign.add(top)
    assert foreign <= ALLOWED[name]


def test_server_and_tasks_never_import_each_other() -> None:
    for name, path in modules().items():
        other = "tasks" if name.startswith("server") else "server"
        assert not {imported for imported in imports(path) if imported.partition(".")[0] == other}


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_no_io(name: str) -> None:
    tops = {imported.partition(".")[0] for imported in imports(modules()[f"server.bridge.{name}"])}
    assert not tops & IMPURE_LIBRARIES


def test_the_bridge_knows_nothing_of_http() -> None:
    for name, path in modules().items():
        if name.startswith("server.bridge"):
            assert not {imported for imported in imports(path) if imported.partition(".")[0] in ("tornado", "http")}
