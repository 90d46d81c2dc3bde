"""Schedules that a team keeps in a file: what the file would change on a server, and the change.

All checks are the server's: each schedule is put as a dry run first, and nothing is changed unless all are taken.
"""

import difflib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import tomli

_TIMEOUT = 30.0  # seconds that a server has for an answer
_URL = re.compile(r"https?://[!-~]+")
_DEFINED = ("job", "cron", "every", "timezone", "enabled", "overlap", "catch_up")


class Refused(Exception):
    """The file cannot be read, or the server does not take it; the text has one line for each reason."""


@dataclass(frozen=True)
class Change:
    """What is to be done to one schedule.

    Attributes:
        name: of it.
        body: what is put; None for one that is deleted.
        before, after: its document, as far as it can be defined; None where there is none.
        headers: the change is for the version that was seen.
    """

    name: str
    body: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    headers: Mapping[str, str]

    @property
    def done(self) -> str:
        """What was done, in a word."""
        return "deleted" if self.after is None else "made" if self.before is None else "changed"

    def diff(self) -> str:
        """For people."""
        before, after = _lines(self.before), _lines(self.after)
        return "".join(difflib.unified_diff(before, after, f"server: {self.name}", f"file: {self.name}"))


class Api:
    """The routes of schedules.

    Args:
        url: of the server.
        key: that it needs; None for none.

    Raises Refused for what is no URL.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        if not _URL.fullmatch(url):
            raise Refused(f"{url}: the URL of a server is expected, such as http://localhost:8000")
        self._url = url.rstrip("/")
        self._key = key

    def changes(self, wanted: Mapping[str, Mapping[str, Any]], prune: bool) -> list[Change]:
        """What makes the server's schedules those of a file. Raises Refused.

        Args:
            wanted: bodies of requests, by name.
            prune: delete those that are not in it.
        """
        found, refused = [], []
        for name, body in wanted.items():
            try:
                found.append(self._change(name, body))
            except Refused as error:
                refused.append(f"{name}: {error}")
        if refused:
            raise Refused("\n".join(refused))
        changes = [change for change in found if change.before != change.after]
        return changes + [self._deletion(name) for name in self._names() if prune and name not in wanted]

    def apply(self, change: Change) -> None:
        """Make a change. Raises Refused, also when somebody else has changed the schedule meanwhile."""
        method = "DELETE" if change.body is None else "PUT"
        try:
            self._ask(method, _path(change.name), change.body, change.headers)
        except Refused as error:
            raise Refused(f"{change.name}: {error}") from error

    def _change(self, name: str, body: Mapping[str, Any]) -> Change:
        before, headers = self._seen(name)
        if before is not None:
            # A pause is nobody's but who has made it.
            body = {"enabled": before["enabled"], **body}
        after, _ = self._ask("PUT", f"{_path(name)}?dry_run=1", body, headers)
        return Change(name, body, before, _defined(after), headers)

    def _deletion(self, name: str) -> Change:
        before, headers = self._seen(name)
        return Change(name, None, before, None, headers)

    def _seen(self, name: str) -> tuple[dict[str, Any] | None, Mapping[str, str]]:
        """A schedule as it is, and the headers of a request to change that."""
        try:
            document, headers = self._ask("GET", _path(name))
        except _NotThere:
            return None, {"If-None-Match": "*"}
        seen = _defined(document)
        if headers["ETag"] is None:
            raise Refused(f"the answer of {self._url} has no ETag: without it, somebody else's edit would be lost")
        return seen, {"If-Match": headers["ETag"]}

    def _names(self) -> Iterator[str]:
        query: dict[str, Any] = {"limit": 100}
        while True:
            page, _ = self._ask("GET", f"/schedules?{urlencode(query)}")
            yield from (each["name"] for each in page["schedules"])
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def _ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Any]:
        """The document and the headers of an answer. Raises Refused."""
        data = None if body is None else json.dumps(body).encode()
        given = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        try:
            request = urllib.request.Request(self._url + path, data, given, method=method)
            if self._key is not None:
                # Not to where an answer may lead.
                request.add_unredirected_header("Authorization", f"Bearer {self._key}")
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read() or "null"), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                detail = _detail(error.read())
            kind = _NotThere if error.code == 404 and method == "GET" else Refused
            raise kind(f"{error.code}, {detail}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused(f"no answer from {self._url}: {error}") from error


class _NotThere(Refused):
    pass


def read(file: Path) -> dict[str, dict[str, Any]]:
    """The bodies of requests in a TOML file, by name: each of its tables is a schedule. Raises Refused."""
    try:
        tables = tomli.loads(file.read_text(encoding="utf-8"))
        json.dumps(tables)
    except (OSError, ValueError) as error:
        raise Refused(f"{file}: {error}") from error
    except TypeError as error:
        raise Refused(f"{file}: dates and times are written as strings") from error
    if other := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise Refused(f"{file}: {other[0]} stands in no table; each table is a schedule, by its name")
    return tables


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"


def _defined(document: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {member: document[member] for member in _DEFINED}
    except (KeyError, TypeError) as error:
        raise Refused("the answer is no schedule: is that the server?") from error


def _lines(document: Mapping[str, Any] | None) -> list[str]:
    return [] if document is None else f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".splitlines(True)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "without a reason"
