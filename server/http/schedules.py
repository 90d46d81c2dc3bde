"""What the handlers of schedules share."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from nowait.schedules.ticks import BadTicks
from server.http.handler import BaseHandler, write_json
from server.http.jobs import JobHandler
from server.http.preconditions import Preconditions
from server.schedules import document
from server.schedules.model import Condition, PreconditionFailed, Schedule

T = TypeVar("T")


class ScheduleHandler(JobHandler):
    """Base of the routes of schedules."""

    async def ask(self, call: Callable[[float], Awaitable[T]]) -> T:
        """As JobHandler.ask(); raises HTTPError 412 and 422 as well."""
        try:
            return await super().ask(call)
        except PreconditionFailed as error:
            raise precondition_failed() from error
        except BadTicks as error:
            raise HTTPError(422, "%s", error) from error

    def apply_preferences(self, header: str) -> None:
        """As for other routes than those of jobs: no answer is held back."""
        BaseHandler.apply_preferences(self, header)

    def check_etag_header(self) -> bool:
        """False: the times of a schedule go on without its version."""
        return False

    def finish_schedule(self, schedule: Schedule | None) -> None:
        """Finish with the document. Raises HTTPError 404 for None."""
        if schedule is None:
            raise no_such_schedule()
        # As a weak validator: the ticks that go by change the document, and not its version.
        self.set_header("Etag", f"W/{document.etag(schedule)}")
        self.set_header("Cache-Control", "no-cache")
        write_json(self, document.document(schedule))


def condition(headers: HTTPHeaders) -> Condition:
    """What the headers of a request expect of a schedule. Raises HTTPError 400."""
    try:
        expected = Preconditions.of_headers(headers.get_list("If-Match"), headers.get_list("If-None-Match"))
    except ValueError as error:
        raise HTTPError(400, str(error)) from error
    return lambda found: expected.hold(None if found is None else document.etag(found))


def precondition_failed() -> HTTPError:
    """The answer where that does not hold."""
    return HTTPError(412, "The schedule is not as If-Match or If-None-Match has it.")


def no_such_schedule() -> HTTPError:
    """The answer where there is none."""
    return HTTPError(404, "There is no such schedule.")
