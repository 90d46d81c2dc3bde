"""The bridge: await the results of Celery tasks on any asyncio loop.

Knows Celery and the broker, nothing of HTTP or Tornado.
"""

from nowait.bridge.bridge import Bridge, Statistics
from nowait.bridge.call import Call, Progress
from nowait.bridge.consumer import Consumer
from nowait.bridge.observer import Observer, Stages

__all__ = ["Bridge", "Call", "Consumer", "Observer", "Progress", "Stages", "Statistics"]
