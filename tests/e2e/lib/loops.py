"""Event loops that run in a thread of their own."""

import asyncio


def end_loop(loop, thread):
    """Cancels what still runs in it, stops it and takes it away."""
    async def cancel():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    asyncio.run_coroutine_threadsafe(cancel(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
