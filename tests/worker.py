"""The Celery application of the test workers: `celery -A tests.worker worker`."""

import os
import time
from typing import Any

from celery import Celery

app = Celery("tests", broker=os.environ.get("NOWAIT_BROKER_URL", "memory://"), backend="rpc://")
app.conf.update(
    task_default_queue="tests",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="test.echo")
def echo(*args: Any, **kwargs: Any) -> Any:
    """What it was given."""
    return args[0] if args else kwargs


@app.task(name="test.fail")
def fail(text: str) -> None:
    """Raise."""
    raise LookupError(text)


@app.task(name="test.sleep")
def sleep(seconds: float) -> float:
    """Take that long."""
    time.sleep(seconds)
    return seconds


@app.task(name="test.exit")
def exit_() -> None:
    """Raise what would end a careless reader of the reply."""
    raise SystemExit(3)
