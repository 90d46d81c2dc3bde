"""What callers get of Celery's calls to Nowait's workers, as JSON: by name."""

import json

from celery import chain, group
from web.celery import app
from web.tasks import query_users

TIMEOUT = 20.0  # seconds


def end(result):
    """How many rows a result has, or its error."""
    try:
        return len(result.get(timeout=TIMEOUT))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


users = query_users.s(1)
print(
    json.dumps(
        {
            "delay": end(query_users.delay(1)),
            "keywords": end(query_users.delay(flag=2, delay=0)),
            "by name": end(app.send_task("task.query_users", [3])),
            "countdown": end(query_users.apply_async([4], countdown=0.1)),
            "expired": end(query_users.apply_async([1], countdown=0.2, expires=0.1)),
            "slow": end(query_users.apply_async([1, 5], expires=0.5)),
            "priority and headers": end(query_users.apply_async([1], priority=5, headers={"of-ours": "1"})),
            "group": [len(rows) for rows in group(users, query_users.s(2)).delay().get(timeout=TIMEOUT)],
            "bad argument": end(query_users.delay("1")),
            "no such task": end(app.send_task("task.nothing")),
            "chain": end(chain(users, query_users.si(2)).delay()),
            "link": end(query_users.apply_async([1], link=query_users.si(2))),
            "compressed": end(query_users.apply_async([1], compression="gzip")),
            "pickle": end(query_users.apply_async([1], serializer="pickle")),
            "inspect": app.control.inspect(timeout=0.5).ping(),
            "ignored": query_users.apply_async([1], ignore_result=True).get(timeout=TIMEOUT),
        }
    )
)
