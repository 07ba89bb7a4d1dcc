"""The child of ``loraplex serve --local``: the gateway under uvicorn, on a socket that the parent holds."""

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from serving.observability.logs import drain_logs
from serving.process.lifetime import die_with_parent
from serving.process.orders import Orders
from serving.process.replica import Replica, prepare_process, summary
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


async def serve(orders: Orders, listener: socket.socket) -> int:
    """Answer requests from the first moment, with 503 until the engine is ready. Returns the exit status."""
    reporter = Reporter(orders.reports, "replica-0")
    replica = Replica(orders, "replica-0")
    server = _Server(
        uvicorn.Config(
            replica.app,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(orders.config.server.drain_timeout_s),
        ),
        reporter.listening,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    serving = loop.create_task(server.serve(sockets=[listener]))
    starting = loop.create_task(replica.start())
    stop = loop.create_task(stopping.wait())
    await asyncio.wait({starting, stop, serving}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if starting.done() and starting.exception() is not None:
        logger.error("the engine did not start", exc_info=starting.exception())
        status = 1
    elif starting.done():
        reporter.ready(await asyncio.to_thread(summary, orders.config, 1))
        await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    server.should_exit = True
    await asyncio.wait({serving})
    await replica.stop()
    return status


def main() -> None:
    """Entry point of the child process."""
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
    # The engine is stopped and its processes are gone; threads that libraries left behind must not hold us up.
    os._exit(status)


if __name__ == "__main__":
    main()
