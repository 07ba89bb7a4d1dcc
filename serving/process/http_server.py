"""The children that serve HTTP themselves: an app under uvicorn, on a socket that the parent holds."""

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from serving.observability.logs import drain_logs
from serving.process.lifetime import die_with_parent
from serving.process.orders import Orders
from serving.process.replica import prepare_process
from serving.process.reports import Reporter

_KEEP_ALIVE_S = 75

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to us, and says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_app(
    app: ASGIApp,
    orders: Orders,
    listener: socket.socket,
    reporter: Reporter,
    *,
    start: Callable[[], Coroutine[Any, Any, None]],
    stop: Callable[[], Awaitable[None]],
    summary: Callable[[], str],
    lost: asyncio.Event | None = None,
) -> int:
    """Answer requests from the first moment until SIGTERM. Returns the exit status.

    Args:
        app: answers 503 by itself until ``start`` has returned.
        start: brings up what is behind it, and tells ``reporter`` why it cannot.
        stop: takes that down, after the last request.
        summary: what serves, for the terminal. Blocking.
        lost: set where this process must end because another one has taken its place.
    """
    server = _server(app, orders, reporter)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    serving = loop.create_task(server.serve(sockets=[listener]))
    starting = loop.create_task(start())
    told = loop.create_task(stopping.wait())
    await asyncio.wait({starting, told, serving}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if starting.done() and starting.exception() is not None:
        logger.error("what was to be served did not start", exc_info=starting.exception())
        status = 1
    elif starting.done():
        reporter.ready(await asyncio.to_thread(summary))
        status = await _until_over(told, serving, lost or asyncio.Event(), reporter)
    starting.cancel()
    server.should_exit = True
    await asyncio.wait({serving})
    await stop()
    return status


def _server(app: ASGIApp, orders: Orders, reporter: Reporter) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(orders.config.server.drain_timeout_s),
        ),
        reporter.listening,
    )


async def _until_over(
    told: asyncio.Task[Any], serving: asyncio.Task[None], lost: asyncio.Event, reporter: Reporter
) -> int:
    """Wait until this process is told to stop, or has to. Returns the exit status."""
    replaced = asyncio.create_task(lost.wait())
    await asyncio.wait({told, serving, replaced}, return_when=asyncio.FIRST_COMPLETED)
    replaced.cancel()
    if lost.is_set():
        reporter.progress("Another process has taken over")
        return 1
    return 0


def run_child(serve: Callable[[Orders, socket.socket], Coroutine[Any, Any, int]]) -> None:
    """The entry point of such a child: read the orders, serve, and end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("orders", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    orders = Orders.read(arguments.orders)
    prepare_process(orders)
    status = uvloop.run(serve(orders, socket.socket(fileno=arguments.listener)))
    drain_logs()
    sys.stderr.flush()
    # What was started is stopped and its processes are gone; threads that libraries left behind must not hold us up.
    os._exit(status)
