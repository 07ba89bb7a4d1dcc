"""Single keys of the terminal, without Enter."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ESCAPE = "\x1b"
_LONGEST = 64

Read = Callable[[float], str]
"""Waits so many seconds at most; the keys that were pressed, empty where there were none."""


@contextmanager
def keyboard() -> Iterator[Read | None]:
    """Keys as they are pressed, until the block ends. None where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield lambda seconds: read_keys(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_keys(descriptor: int, seconds: float) -> str:
    """What was typed within so many seconds. Arrows and their kind are left out.

    Raises:
        EOFError: the terminal is gone.
    """
    ready, _, _ = select.select([descriptor], [], [], seconds)
    if not ready:
        return ""
    try:
        typed = os.read(descriptor, _LONGEST)
    except OSError as error:
        raise EOFError from error
    if not typed:
        raise EOFError
    text = typed.decode("utf-8", "replace")
    return "" if text.startswith(_ESCAPE) else text


def no_keys(seconds: float) -> str:
    """Stands for a keyboard where there is none."""
    time.sleep(seconds)
    return ""
