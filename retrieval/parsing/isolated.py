"""``IsolatedParser``: files that strangers wrote are read in a process of their own.

A damaged or hostile file can make a parser run for ever, take all memory or crash. In a process of its own it harms
nothing but itself: that process is ended, and the next file gets a new one.
"""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument
from retrieval.parsing.worker import ANSWER, OUT_OF_MEMORY, REQUEST

_EXIT_S = 5.0
"""How long a process that hung up may take to be gone."""
_ENTRY = "retrieval.parsing.parse:parse"
_START = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from retrieval.parsing.worker import main\n"
    "main(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])"
)


class IsolatedParser:
    """Parses in another process, started at the first use. Thread-safe; one file is read at a time.

    Args:
        timeout_s: for one file, by the clock on the wall.
        memory_bytes: of address space for the process.
        entry: ``module:function`` that parses there, called as :func:`retrieval.parsing.parse.parse`.
    """

    def __init__(self, timeout_s: float, memory_bytes: int = 2 * 2**30, *, entry: str = _ENTRY) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._entry = entry
        self._parsing = threading.Lock()
        self._starting = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    def parse(self, name: str, data: bytes) -> ParsedDocument:
        """The document in a file; see :func:`retrieval.parsing.parse.parse`.

        Raises:
            DocumentUnreadable: also where reading it takes too long or too much memory, or ends the process.
            RuntimeError: the parser was closed, before or meanwhile.
            OSError: no process can be started.
        """
        with self._parsing:
            worker = self._running()
            try:
                answer = worker.ask(name, data, time.monotonic() + self._timeout_s)
                found, is_spent = _read(answer), bool(answer["spent"])
            except BaseException as error:
                status = worker.end(_EXIT_S if isinstance(error, ConnectionError) else 0)
                if self._closed:
                    raise RuntimeError("the parser was closed") from None
                if isinstance(error, (OSError, ValueError, LookupError, TypeError)):
                    raise DocumentUnreadable("invalid_file", self._why(error, status)) from None
                raise
            if is_spent:
                worker.end()
        if isinstance(found, DocumentUnreadable):
            raise found
        return found

    def close(self) -> None:
        """End the process; a file that is being read there fails. Safe to call twice."""
        with self._starting:
            self._closed = True
            worker = self._worker
        if worker is not None:
            worker.kill()
            with self._parsing:
                worker.end()

    def _running(self) -> "_Worker":
        with self._starting:
            if self._closed:
                raise RuntimeError("the parser was closed")
            if self._worker is not None and not self._worker.is_running():
                self._worker.end()
                self._worker = None
            if self._worker is None:
                self._worker = _Worker(self._memory_bytes, self._timeout_s, self._entry)
            return self._worker

    def _why(self, error: Exception, status: int) -> str:
        if isinstance(error, TimeoutError):
            return f"reading the file took more than {self._timeout_s:g} seconds"
        if not isinstance(error, ConnectionError):
            return "reading the file confused the process that read it"
        if status == OUT_OF_MEMORY:
            return f"reading the file took more than {self._memory_bytes / 2**20:,.0f} MiB of memory"
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"reading the file ended the process that read it ({how})"


class _Worker:
    """One process, and the socket to it."""

    def __init__(self, memory_bytes: int, timeout_s: float, entry: str) -> None:
        ours, theirs = socket.socketpair()
        # Without site the same modules are found as here, sooner and without anything that the environment adds.
        paths = json.dumps([str(Path(path).absolute()) for path in sys.path])
        arguments = [paths, str(memory_bytes), str(timeout_s), entry]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _START, *arguments],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        self._socket = ours
        self._memory_bytes = memory_bytes

    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, name: str, data: bytes, deadline: float) -> dict[str, Any]:
        """What it answers.

        Raises:
            TimeoutError: the deadline passed.
            OSError, ValueError: it ended, or answered something else than JSON.
        """
        encoded = name.encode("utf-8", "surrogatepass")
        for part in (REQUEST.pack(len(encoded), len(data)) + encoded, data):
            self._socket.settimeout(_until(deadline))
            self._socket.sendall(part)
        (size,) = ANSWER.unpack(self._received(ANSWER.size, deadline))
        if size > self._memory_bytes:
            raise ValueError("an answer larger than the process can be")
        answer: dict[str, Any] = orjson.loads(self._received(size, deadline))
        return answer

    def kill(self) -> None:
        """End it at once. Safe from any thread, at any time."""
        self._process.kill()

    def end(self, patience_s: float = 0) -> int:
        """Its exit status, below 0 for a signal. Safe to call twice.

        Args:
            patience_s: for one that is ending by itself, whose own status tells why.
        """
        try:
            status = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._socket.close()
        return status

    def _received(self, size: int, deadline: float) -> bytearray:
        received = bytearray(size)
        rest = memoryview(received)
        while rest:
            self._socket.settimeout(_until(deadline))
            count = self._socket.recv_into(rest)
            if count == 0:
                raise ConnectionError("it ended")
            rest = rest[count:]
        return received


def _read(answer: dict[str, Any]) -> ParsedDocument | DocumentUnreadable:
    if "code" in answer:
        return DocumentUnreadable(answer["code"], answer["message"])
    blocks = tuple(Block(BlockKind(kind), text, level, header) for kind, text, level, header in answer["blocks"])
    return ParsedDocument(answer["title"], blocks)


def _until(deadline: float) -> float:
    """Seconds that are left. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
