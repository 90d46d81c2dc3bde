"""How a request is let in: by a key for what is asked, with room in its quota."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from server.http import problem
from server.http.access import Access, action_in
from server.http.problem import ProblemError
from server.http.proxies import site
from server.keys.gate import Gate, NoKey, NotBearer
from server.keys.keyring import BadKey
from server.keys.quota import IN_FLIGHT, QuotaExceeded
from server.keys.scopes import ADMIN, NAME

log = logging.getLogger(__name__)


class Refused(ProblemError):
    """The request is not let in; the answer waits for as long as `Admission.delay` has it."""


class Admission:
    """That of one request.

    Args:
        gate: knows clients by their keys.
        access: what the route needs; None, where nobody has decided, is for administrators alone.
        method: of the request.
        request_id: for the log.
        address: gives that of the client.

    Attributes:
        client: who asks.
    """

    def __init__(
        self, gate: Gate, access: Access | None, method: str, request_id: str, address: Callable[[], str]
    ) -> None:
        self.client = gate.anybody
        self._gate = gate
        self._access = Access(ADMIN) if access is None else access
        self._method = method
        self._request_id = request_id
        self._address = address
        self._in_flight = False

    def enter(self, authorization: Sequence[str], names: Sequence[str], unknown: bool = False) -> None:
        """Let the request in.

        Args:
            authorization: the values of that header.
            names: the parts of the path that differ.
            unknown: its key was not valid when its body came.

        Raises Refused, and ProblemError where the key has not the scope.
        """
        area = self._access.area
        if area is None and not (self._access.known and authorization):
            return
        try:
            self.client = self._gate.client(authorization)
        except NoKey as error:
            raise Refused(problem.KEY_MISSING) from error
        except NotBearer as error:
            raise Refused(problem.NOT_BEARER) from error
        except BadKey as error:
            if error.id is not None:
                log.info("request %s: key %s is refused: %s", self._request_id, error.id, error.reason)
            raise Refused(problem.KEY_INVALID) from error
        if unknown:
            raise Refused(problem.KEY_INVALID)
        with _refusing():
            self.client.quota.enter(time.monotonic())
        self._in_flight = True
        if area is not None:
            self.require(area, names[0] if self._access.named else None)

    def require(self, area: str, name: str | None) -> None:
        """Raise ProblemError unless the client may do what the method does in an area, to what has the name.

        Without a name, a scope for any will do.
        """
        action = action_in(area, self._method)
        if not self.client.scopes.allow(area, action, name):
            raise ProblemError(problem.of_scope(_text(area, action, name)))

    def require_named(self, name: str | None) -> None:
        """Raise ProblemError unless it may do so in the route's area; without a name, to what has any."""
        area = self._access.area
        if area is None or (name is None and self.for_all_names):
            return
        if name is None:
            raise ProblemError(problem.of_scope(_text(area, self._access.action(self._method), None)))
        self.require(area, name)

    @property
    def for_all_names(self) -> bool:
        """The client may do what the method does in the route's area, to whatever is there."""
        area, action = self._access.area, self._access.action(self._method)
        return area is None or self.client.scopes.allow_all(area, action)

    @contextmanager
    def counted_as(self, policy: str) -> Iterator[None]:
        """While the block runs, the request is a stream or a subscriber, and not in flight. Raises Refused."""
        quota = self.client.quota
        with _refusing():
            quota.take(policy)
        self.leave()
        try:
            yield
        finally:
            quota.release(policy)

    def leave(self) -> None:
        """The request is in flight no more."""
        if self._in_flight:
            self._in_flight = False
            self.client.quota.release(IN_FLIGHT)

    def fields(self) -> dict[str, str]:
        """The header fields that tell the client of its limits."""
        return self.client.quota.fields(time.monotonic())

    def delay(self) -> float | None:
        """Seconds after which a refusal is answered; None to end the connection instead: too many wait."""
        name = self.client.name
        return self._gate.delay(f"key {name}" if name else f"address {site(self._address())}")


def _text(area: str, action: str, name: str | None) -> str:
    """The scope that is missing; without a name where no scope could have that one, as it is in a header."""
    return area + (f".{action}" if action else "") + (f":{name}" if name and NAME.fullmatch(name) else "")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except QuotaExceeded as error:
        raise Refused(problem.of_quota(error.policy, error.limit, error.retry_after)) from error
