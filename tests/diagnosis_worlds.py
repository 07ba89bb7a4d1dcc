"""Serves a built world from a thread, for tests whose own code blocks."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.diagnosis_server import serving
from benchmarks.diagnosis_world import World


@contextmanager
def served(world: World, noise: float = 0.0) -> Iterator[str]:
    """The address of a simulated gateway, with ``/v1``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = serving(world, noise)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
