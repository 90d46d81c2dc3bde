"""Handlers whose answers several clients may get."""

import time

from nowait import tracing
from server.answers.answer import Answer
from server.answers.key import AnswerKey
from server.answers.shared import Send
from server.http.cache_control import CacheControl
from server.http.tasks import TaskHandler


class AnswerHandler(TaskHandler):
    """Base of the routes that answer a GET with rows which others may have asked for as well.

    The header `Cache-Status` (RFC 9211) has what came of that.
    """

    async def finish_answer(self, key: AnswerKey, send: Send, start: bytes, *, lifetime: float, shared: bool) -> None:
        """Finish with the rows of a call: one that is sent now, one under way, or one of before, if that is fresh.

        Args:
            key: of what is called.
            send: sends the call.
            start: of the document, before the rows; it ends behind them.
            lifetime: seconds in which the answer may be given again; 0 for none.
            shared: a call under way may be waited for.

        Raises as run_task().
        """
        wanted = CacheControl.of_header(",".join(self.request.headers.get_list("Cache-Control")))
        anew = wanted.no_cache or wanted.no_store
        answer = None if anew or not lifetime else self.context.kept_answers.get(key, wanted.max_age)
        if answer is not None:
            self.set_header("Age", str(int(self.context.kept_answers.age(answer))))
            if self._begin(answer, "hit"):
                with self.context.kept_answers.writing(answer):
                    await self.finish_shared(start, answer.parts, b"}")
            return
        self.check_wanted()
        started = time.perf_counter()
        with self.context.shared_calls.join(
            key, self.deadline, send, lifetime=lifetime, alone=anew or not shared, kept=not wanted.no_store
        ) as seat:
            if seat.joined and seat.trace_id:
                # What the call did is in the trace of the request that has sent it.
                tracing.current().set("nowait.joined_trace_id", seat.trace_id)
            answer = await self.wait_timed(seat.answer, started, lambda: seat.sent)
            forwarded = "fwd=request" if anew else "fwd=miss" if lifetime or shared else "fwd=bypass"
            if self._begin(answer, f"{forwarded}; collapsed" if seat.joined else forwarded):
                await self.finish_shared(start, answer.parts, b"}")

    def _begin(self, answer: Answer, status: str) -> bool:
        """Set the headers. Returns False when the client has the answer already, and so has got 304."""
        self.set_header("Cache-Status", f"nowait; {status}")
        if answer.lifetime:
            max_age = f"max-age={int(answer.lifetime)}"
            if self.context.gate.needs_keys:
                # What stands between gives it to nobody who has not shown the key.
                self.vary_by("Authorization")
                max_age = f"private, {max_age}"
            self.set_header("Cache-Control", max_age)
            self.set_header("Etag", answer.etag)
            if self.check_etag_header():
                self.set_status(304)
                self.finish()
                return False
        return True
