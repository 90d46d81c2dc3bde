"""The workers' side of Nowait: a Celery application and the query tasks it serves.

`celery -A tasks worker` finds the application here.
"""

from tasks.app import app

__all__ = ["app"]
