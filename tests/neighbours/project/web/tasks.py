"""The workers' tasks, by name, as this project calls them."""

from celery import shared_task


# Nobody waits for longer: no worker begins it then, and its statement ends.
@shared_task(name="task.query_users", expires=10)
def query_users(flag: int, delay: float = 0) -> list[dict]:
    """The users with a flag."""
    raise NotImplementedError("it is Nowait's workers that have it")
