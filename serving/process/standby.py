"""Answering 503 on the public socket while no serving process does."""

import asyncio
import contextlib
import socket

import orjson

from serving.errors import NotReady, answer_for, error_body

_LIMIT_BYTES = 1024 * 1024
_LIMIT_S = 5.0


def _response() -> bytes:
    error = NotReady("The gateway is starting; try again in a moment.")
    row = answer_for(error)
    body = orjson.dumps(error_body(error))
    head = (
        f"HTTP/1.1 {row.status} Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {row.retry_after_s}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class Standby:
    """Accepts connections on a listening socket that another process shares, and turns them away politely."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._answer = _response()

    async def start(self) -> None:
        """Begin to answer. Does nothing while it answers already."""
        if self._server is None:
            # A copy: closing the server must not close the socket that the next process is given.
            self._server = await asyncio.start_server(self._turn_away, sock=self._listener.dup())

    def stop(self) -> None:
        """Leave new connections to the serving process."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await asyncio.wait_for(_read_request(reader), _LIMIT_S)
        with contextlib.suppress(OSError):
            writer.write(self._answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> None:
    """Take in what the client sends: closing on unread bytes would reset the connection before it reads ours."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            await reader.readexactly(min(int(value), _LIMIT_BYTES))
