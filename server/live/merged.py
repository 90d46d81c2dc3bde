"""Several streams of events as one."""

import asyncio
from collections.abc import AsyncGenerator


async def merged(*sources: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """What all sources give, as it comes, until all have ended. They are closed with it; raises what one raises."""
    awaited: dict[asyncio.Future[bytes], AsyncGenerator[bytes, None]] = {}
    awaited.update((asyncio.ensure_future(anext(source)), source) for source in sources)
    try:
        while awaited:
            done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            for given in done:
                source = awaited.pop(given)
                try:
                    event = given.result()
                except StopAsyncIteration:
                    continue
                yield event
                awaited[asyncio.ensure_future(anext(source))] = source
    finally:
        for given in awaited:
            given.cancel()
        await asyncio.gather(*awaited, return_exceptions=True)
        for source in sources:
            await source.aclose()
