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


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve ``app`` with uvicorn in this event loop; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
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
    async with served(build_control(it.config, it.rollouts, Authenticator(it.config))) as url:
        yield url
