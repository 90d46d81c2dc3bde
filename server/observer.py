"""Who wants to know what a server does: for metrics, which only `server.metrics` knows of."""

from typing import Protocol


class Observer(Protocol):
    """Sees what has happened. Called on the loop, for each of it: it has to be quick, and must not raise."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: the pattern of its path, as `server.http.route` has it.
            method: of HTTP, whatever the client has sent.
            status: of the answer.
            seconds: from the request to the answer.
        """

    def attempted(self, outcome: str, seconds: float) -> None:
        """An attempt to deliver a webhook has ended, with an outcome of `server.webhooks.outcome`."""

    def put(self, queue: str, error: BaseException | None) -> None:
        """It is known what has become of a message for a queue, however often it was tried.

        Args:
            queue: its name.
            error: why it is not there, or may not be; None where it is.
        """

    def lagged(self, seconds: float) -> None:
        """A timer of the loop was late by so much."""


class Nobody:
    """Sees nothing."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None: ...

    def attempted(self, outcome: str, seconds: float) -> None: ...

    def put(self, queue: str, error: BaseException | None) -> None: ...

    def lagged(self, seconds: float) -> None: ...
