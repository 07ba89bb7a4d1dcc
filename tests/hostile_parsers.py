"""Parsers that misbehave, to be run in a process of their own."""

import ctypes
import os
import signal
import sys

from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument

_KEPT: list[bytes] = []


def misbehave(name: str, data: bytes) -> ParsedDocument:
    """Do what the file's name says; any other name gives the process's id, which is how tests tell it from another."""
    match name:
        case "hang":
            while True:
                pass
        case "hang in C":
            ctypes.PyDLL(None).pause()  # holds the interpreter's lock for ever
        case "allocate":
            _KEPT.extend(bytes(2**20) for _ in range(2**20))
        case "allocate a little":
            _KEPT.append(b"x" * int(data))
        case "segfault":
            ctypes.string_at(0)
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "answer nonsense":
            os.write(0, (2).to_bytes(8, "big") + b"[]")
        case "chatter":
            os.write(1, b"noise" * 100_000)
            os.write(2, b"noise" * 100_000)
        case "raise":
            raise LookupError("a bug")
    return ParsedDocument("", (Block(BlockKind.TEXT, str(os.getpid())),))
