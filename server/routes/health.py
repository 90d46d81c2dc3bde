"""Is the server alive, is it ready, is it fast."""

from typing import Any

from nowait import errors
from server.http.access import OPEN
from server.http.context import Context
from server.http.handler import BaseHandler
from server.openapi.offer import Offer
from server.openapi.operation import Answer, Operation, json, members

_WHY_NOT = {"stopped": errors.Stopped, "blocked": errors.Blocked}


class NowHandler(BaseHandler):
    """Has nothing to wait for: its latency is the server's own."""

    access = OPEN

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(b"i want you, right now!")


class AliveHandler(BaseHandler):
    """200 as long as the loop turns."""

    access = OPEN

    def get(self) -> None:
        self.finish({"status": "alive"})


class ReadyHandler(BaseHandler):
    """200 while tasks can be sent; 503 while the broker is away or the server stops."""

    access = OPEN

    def get(self) -> None:
        state = "stopped" if self.context.in_flight.stopping else self.context.tasks.state
        if state != "connected":
            raise _WHY_NOT.get(state, errors.Disconnected)(state)
        self.finish({"status": "ready"})


def routes(context: Context) -> list[Any]:
    """The routes of this module."""
    options = {"context": context}
    return [
        (r"/i_want_you_now", NowHandler, options),
        (r"/healthz", AliveHandler, options),
        (r"/readyz", ReadyHandler, options),
    ]


def operations(_: Offer) -> list[Operation]:
    """What they answer."""

    def operation(name: str, path: str, summary: str, answer: Answer, *problems: int) -> Operation:
        return Operation(name, "GET", path, "health", summary, [answer], problems=problems, open=True)

    def state(word: str) -> Answer:
        return json(word, members({"status": {"type": "string", "const": word}}))

    now = Answer("i want you, right now!", {"text/plain": {"type": "string"}})
    return [
        operation("now", "/i_want_you_now", "what needs nothing, and so never waits", now),
        operation("alive", "/healthz", "200 while the loop runs", state("alive")),
        operation("ready", "/readyz", "200 while tasks can be sent", state("ready"), 503),
    ]
