"""What vLLM's processes say while they start, brought back to the gateway.

Each process sends its log records over a datagram socket; the gateway turns those that mark a phase into progress
and keeps the last error, which is the cause that vLLM's own exception only points at.
"""

import logging
import os
import re
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.engine.protocol import Progress

VARIABLE = "LORAPLEX_STARTUP_SOCKET"
"""Environment variable that holds the socket's path."""
QUIET = "LORAPLEX_QUIET_ENGINE"
"""Set where vLLM's log lines below WARNING stay off the terminal."""

_LIMIT = 4096
_SEND_TIMEOUT_S = 1.0
_PHASES: tuple[tuple[str, str], ...] = (
    (r"Initializing a V1 LLM engine", "starting the engine core"),
    (r"Starting to load model", "loading the weights"),
    (r"Loading weights took ([\d.]+)", "weights loaded in {0} s"),
    (r"Loading safetensors .* (\d+)% Completed", "loading the weights: {0} %"),
    (r"Warming up model", "warming up the model"),
    (r"torch\.compile takes ([\d.]+)", "model compiled in {0} s"),
    (r"Capturing CUDA graph|Graph capturing", "capturing CUDA graphs"),
    (r"KV cache size: ([\d,]+) tokens", "reserving the KV cache: {0} tokens"),
    (r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)", "room for {1} requests of {0} tokens at once"),
    (r"init engine .* took ([\d.]+)", "engine core ready"),
)
_PATTERNS = tuple((re.compile(pattern), phase) for pattern, phase in _PHASES)


def phase_of(message: str) -> str | None:
    """The phase that one of vLLM's log messages marks; None for all others."""
    for pattern, phase in _PATTERNS:
        found = pattern.search(message)
        if found is not None:
            return phase.format(*found.groups())
    return None


class _Sender(logging.Handler):
    """Sends each record as ``LEVEL message``; a lost one is no loss."""

    def __init__(self, path: str) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Linux queues ten datagrams by default, and the listener may be busy importing.
        self._socket.settimeout(_SEND_TIMEOUT_S)

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{record.levelname} {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        try:
            self._socket.sendto(text.encode(errors="replace")[:_LIMIT], self._path)
        except TimeoutError:
            return
        except OSError:
            # Nobody listens once the engine is up.
            logging.getLogger("vllm").removeHandler(self)
            self.close()

    def close(self) -> None:
        self._socket.close()
        super().close()


def attach() -> None:
    """In one of vLLM's processes: relay its log while a gateway listens, and keep it off the terminal if asked to."""
    path, logger = os.environ.get(VARIABLE), logging.getLogger("vllm")
    if path is None or not Path(path).exists() or any(isinstance(handler, _Sender) for handler in logger.handlers):
        return
    if os.environ.get(QUIET):
        for handler in logger.handlers:
            handler.setLevel(logging.WARNING)
    logger.addHandler(_Sender(path))


class StartupListener:
    """A context in which phases are told to ``progress``, with the seconds since its start."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._folder = tempfile.TemporaryDirectory(prefix="loraplex-")
        self.path = str(Path(self._folder.name) / "startup")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._listen, name="loraplex-startup", daemon=True)
        self._started = 0.0
        self._told: set[str] = set()
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        self._socket.bind(self.path)
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as closer:
                closer.sendto(b"", self.path)
            self._thread.join(timeout=5)
        finally:
            self._socket.close()
            self._folder.cleanup()

    def say(self, phase: str) -> None:
        """Tell a phase once, with the time since the start."""
        if phase not in self._told:
            self._told.add(phase)
            self._progress(f"{phase} ({time.monotonic() - self._started:.0f} s)")

    @property
    def cause(self) -> str | None:
        """The first error that a process logged as an exception, else the last error line."""
        named = [error for error in self._errors if re.match(r"[A-Za-z_.]+(Error|Exception|Interrupt): ", error)]
        return next(iter(named or self._errors[::-1]), None)

    def _listen(self) -> None:
        while data := self._socket.recv(_LIMIT):
            level, _, message = data.decode(errors="replace").partition(" ")
            if level in ("ERROR", "CRITICAL"):
                self._errors.append(message.strip().splitlines()[-1] if message.strip() else "")
            phase = phase_of(message)
            if phase is not None:
                self.say(phase)
