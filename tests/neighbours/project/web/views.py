"""Pages, and what they fetch."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
from celery.exceptions import TimeoutError
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from .tasks import query_users

# Under ASGI, each request of Django's has a thread of its own. `rpc://` has a queue of replies for each thread, under a
# name that a later thread may have again: only threads that stay get all of their replies.
_threads = ThreadPoolExecutor(8)


def users_with(flag: int) -> HttpResponse:
    try:
        rows = query_users.delay(flag).get(timeout=10)
    except TimeoutError:
        return JsonResponse({"error": "there was no answer in time"}, status=504)
    except Exception as error:  # what the task has raised, by the name of its class
        return JsonResponse({"error": type(error).__name__, "detail": str(error)}, status=500)
    return JsonResponse({"flag": flag, "rows": rows})


@require_GET
async def users(request: HttpRequest, flag: int) -> HttpResponse:
    return await asyncio.get_running_loop().run_in_executor(_threads, users_with, flag)


@require_GET
def news(request: HttpRequest) -> HttpResponse:
    return render(request, "news.html")


@require_GET
async def news_events(request: HttpRequest) -> HttpResponse:
    events = relayed("news", request.headers.get("Last-Event-ID"))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


async def relayed(topic: str, last_event_id: str | None) -> AsyncIterator[bytes]:
    """The events of a topic, as Nowait's server sends them. When they end, the page's EventSource comes again."""
    url = f"{settings.SERVER_URL}/topics/{topic}/events"
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    try:
        # There is a comment each 15 seconds.
        async with httpx.AsyncClient(timeout=30.0) as client, client.stream("GET", url, headers=headers) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_raw():
                yield part
    except httpx.HTTPError:
        yield b"retry: 5000\n\n"


@require_POST
async def publish_news(request: HttpRequest) -> HttpResponse:
    message = {"text": json.loads(request.body)["text"]}
    async with httpx.AsyncClient(timeout=10.0) as client:
        answer = await client.post(f"{settings.SERVER_URL}/topics/news", json=message)
    return HttpResponse(answer.content, status=answer.status_code, content_type=answer.headers["Content-Type"])
