"""What a receiver gets. No I/O."""

import json

from nowait.jobs.table import State
from server.jobs import document
from server.jobs.model import Job

MAX_RESULT = 20_000  # bytes; above, the receiver has to fetch it

_encode = json.JSONEncoder(separators=(",", ":")).encode


def message_id(job: Job) -> str:
    """The same for all attempts to deliver one end of a job; a job that was tried again has another end."""
    return f"job_{job.id}_{job.reopened}" if job.reopened else f"job_{job.id}"


def body(job: Job, once: bool | None) -> bytes:
    """The message that the job has ended.

    Args:
        job: as it has ended; with a result, unless that is larger than MAX_RESULT.
        once: as that of its kind; None when that is not known.
    """
    head = _encode({"type": f"job.{job.state.value}", "timestamp": document.text(job.finished)})
    # A receiver may be somebody else's: which hosts work here is none of its business.
    data = document.summary(job, once)
    del data["worker"]
    left_out = job.state is State.SUCCEEDED and job.result is None
    result = b"" if left_out else b',"result":' + document.result(job)
    return head[:-1].encode() + b',"data":' + _encode(data)[:-1].encode() + result + b"}}"
