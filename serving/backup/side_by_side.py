"""Many small transfers at once: each mostly waits for a disk or a server."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 4
"""Each may hold a whole uploaded file in memory."""


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What ``work`` makes of each item, in order. Raises the first that it raises, and begins no other then."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="backup") as threads:
        try:
            return list(threads.map(work, items))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
