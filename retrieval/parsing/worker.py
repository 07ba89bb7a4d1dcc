"""The other side of :mod:`retrieval.parsing.isolated`: a process that reads one file after another.

It speaks through a socket that is its standard input: a request is a file's name and bytes, an answer is JSON. It ends
when the other end of the socket is gone, and while it reads a file, by an alarm that needs no help of Python's.
"""

import importlib
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import orjson

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import ParsedDocument

REQUEST = struct.Struct("!IQ")
"""Bytes of the name, bytes of the file; both follow."""
ANSWER = struct.Struct("!Q")
"""Bytes of JSON that follow."""
OUT_OF_MEMORY = 86
"""Exit status of a process that could not go on for want of memory."""
_SPENT_SHARE = 0.5
"""A process that kept more of its memory than this is replaced: the next file would lack it."""
_GRACE_S = 1.0
"""How long after the other side's deadline the alarm is, should the other side be gone."""

Parse = Callable[[str, bytes], ParsedDocument]


def main(memory_bytes: int, timeout_s: float, entry: str) -> None:
    """Serve until the other end closes.

    Args:
        memory_bytes: of address space.
        timeout_s: for one file.
        entry: ``module:function`` that parses.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, function = entry.partition(":")
    parse: Parse = getattr(importlib.import_module(module), function)
    with socket.socket(fileno=0) as connection, connection.makefile("rb") as requests:
        try:
            while _serve_one(requests, connection, parse, memory_bytes, timeout_s):
                pass
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _serve_one(
    requests: BinaryIO, connection: socket.socket, parse: Parse, memory_bytes: int, timeout_s: float
) -> bool:
    """Whether there was a request."""
    header = requests.read(REQUEST.size)
    if len(header) < REQUEST.size:
        return False
    signal.setitimer(signal.ITIMER_REAL, timeout_s + _GRACE_S)
    name_size, data_size = REQUEST.unpack(header)
    name, data = requests.read(name_size).decode("utf-8", "surrogatepass"), requests.read(data_size)
    answer = _answer(parse, name, data, int(memory_bytes * _SPENT_SHARE))
    connection.sendall(ANSWER.pack(len(answer)))
    connection.sendall(answer)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def _answer(parse: Parse, name: str, data: bytes, plenty: int) -> bytes:
    try:
        document = parse(name, data)
    except DocumentUnreadable as error:
        found: dict[str, object] = {"code": error.code, "message": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # a damaged file breaks a parser in ways that nobody has listed
        found = {"code": "invalid_file", "message": f"the file cannot be parsed: {type(error).__name__}"}
    else:
        blocks = [(block.kind.value, block.text, block.level, block.header) for block in document.blocks]
        found = {"title": document.title, "blocks": blocks}
    return orjson.dumps({**found, "spent": _address_space() > plenty})


def _address_space() -> int:
    """Bytes. What ``getrusage`` counts begins with the other side's memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
