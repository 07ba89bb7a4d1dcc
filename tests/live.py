"""A live server on loopback for an ASGI app."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from serving.auth import Authenticator
from serving.control import build_control
from tests.lifecycle import World, until


def listen() -> socket.socket:
    """A socket that listens on a free port of loopback."""
    # With the protocol named, asyncio turns off Nagle's algorithm, which else holds every second packet for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve ``app`` with uvicorn in this event loop; gives its address."""
    listener = listen()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started, "the server's start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@asynccontextmanager
async def served_control(it: World) -> AsyncIterator[str]:
    """Serve a world's admin API."""
    async with served(build_control(it.config, it.rollouts, Authenticator(it.config), it.life)) as url:
        yield url
