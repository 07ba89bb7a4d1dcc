"""What the processes of an instance tell the one with the terminal: small datagrams on a local socket.

Ray is not involved, so a replica is heard before Ray Serve calls it started, and a driver that fails is heard at all.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

_LIMIT_BYTES = 32 * 1024

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a report is about."""

    PROGRESS = "progress"
    LISTENING = "listening"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """One message."""

    kind: Kind
    source: str
    """Which process speaks, such as ``replica-0``."""
    text: str


class Reporter:
    """Sends reports. Never raises and never waits: nobody may be listening any more, or on another machine.

    Without ``path`` nobody ever listens, and what would be told goes to the log.
    """

    def __init__(self, path: Path | None, source: str) -> None:
        self._path = path
        self._source = source

    def progress(self, text: str) -> None:
        """Say what is being done."""
        self._send(Kind.PROGRESS, text)

    def listening(self) -> None:
        """Say that connections are accepted from now on."""
        self._send(Kind.LISTENING, "")

    def ready(self, text: str) -> None:
        """Say that requests are answered from now on; ``text`` says by what."""
        self._send(Kind.READY, text)

    def failed(self, text: str) -> None:
        """Say in one sentence why this process gives up."""
        self._send(Kind.FAILED, text)

    def _send(self, kind: Kind, text: str) -> None:
        if self._path is None:
            logger.log(logging.ERROR if kind is Kind.FAILED else logging.INFO, "%s: %s %s", self._source, kind, text)
            return
        data = json.dumps(asdict(Report(kind, self._source, text[: _LIMIT_BYTES // 8]))).encode()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(data, str(self._path))


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[Report], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: object) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            fields = json.loads(data)
            self._receive(Report(Kind(fields["kind"]), str(fields["source"]), str(fields["text"])))


class ReportListener:
    """Receives reports on ``path`` until closed."""

    def __init__(self, path: Path, receive: Callable[[Report], None]) -> None:
        self._path = path
        self._receive = receive
        self._transport: asyncio.BaseTransport | None = None

    async def start(self) -> None:
        """Bind the socket. Raises OSError."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LIMIT_BYTES * 16)
        bound.bind(str(self._path))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self._receive), sock=bound)

    def close(self) -> None:
        """Stop receiving."""
        if self._transport is not None:
            self._transport.close()
        self._path.unlink(missing_ok=True)
