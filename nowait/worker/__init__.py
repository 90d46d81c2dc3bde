"""For workers of any Celery application: a strict consumer and confirmed replies, each useful without the other.

    app.conf.worker_consumer = "nowait.worker:Consumer"
    app.conf.result_backend = "nowait.worker:Results"

`configure(app)` sets both, and what belongs to them. `Streaming` is for tasks that answer in parts.
"""

from nowait.worker.backend import Results
from nowait.worker.configure import configure
from nowait.worker.consumer import Consumer
from nowait.worker.streaming import ReaderLeft, Stream, Streaming

__all__ = ["Consumer", "ReaderLeft", "Results", "Stream", "Streaming", "configure"]
