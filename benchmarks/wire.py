"""An HTTP/1.1 client connection that costs little and notes when each piece arrived."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

import httptools


class ExchangeFailed(Exception):
    """The connection could not be made, or ended before the response did."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Reply:
    """One response and its times, in seconds of ``time.perf_counter``."""

    sent_at: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """Body as it arrived."""
    done_at: float = 0.0

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(piece for _, piece in self.pieces)

    def events(self) -> list[tuple[float, bytes]]:
        """Data of the server-sent events, each with the time at which its last byte arrived."""
        found: list[tuple[float, bytes]] = []
        rest = b""
        for at, piece in self.pieces:
            *whole, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in whole:
                data = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
                if data:
                    found.append((at, b"\n".join(data)))
        return found


def request_bytes(
    method: str, path: str, address: Address, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {address}", "accept: */*"]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._reply = Reply(0.0)
        self._waiter: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, address: Address) -> "Connection":
        """Connect. Raises ExchangeFailed."""
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(cls, address.host, address.port)
        except OSError as error:
            raise ExchangeFailed(f"cannot connect to {address}: {error}") from error
        return protocol

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, payload: bytes, timeout_s: float) -> Reply:
        """Send one request and wait for its whole response. Raises ExchangeFailed."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._reply = Reply(time.perf_counter())
        self._transport.write(payload)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            self.close()
            raise ExchangeFailed(f"no whole response within {timeout_s:g} s") from None

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange that is under way."""
        self._transport = None
        self._fail(f"the connection ended after {len(self._reply.body)} bytes of body: {exc or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        """Feed the parser; it calls the methods below."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._reply.pieces.append((time.perf_counter(), body))

    def on_message_complete(self) -> None:
        """The response is whole."""
        parser, waiter = self._parser, self._waiter
        assert parser is not None
        self._reply.done_at = time.perf_counter()
        self._reply.status = parser.get_status_code()
        if not parser.should_keep_alive():
            self.close()
        self._parser = None
        self._waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(self._reply)

    def _fail(self, message: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ExchangeFailed(message))


async def fetch(
    address: Address, path: str, *, method: str = "GET", body: bytes = b"", timeout_s: float = 30.0
) -> Reply:
    """One request on a connection of its own. Raises ExchangeFailed."""
    connection = await Connection.open(address)
    try:
        return await connection.exchange(request_bytes(method, path, address, body), timeout_s)
    finally:
        connection.close()
