"""Work that may hang, with a bound."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class TooLong(Exception):
    """It took longer than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"there was no answer within {seconds:g} s")


class _Run(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.result: list[T] = []
        self.error: Exception | None = None

    def __call__(self) -> None:
        try:
            self.result.append(self._work())
        except Exception as error:
            self.error = error


def within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` returns. What hangs is left behind in its thread, which holds nothing up.

    Raises what ``work`` raises, and TooLong.
    """
    run = _Run(work)
    thread = threading.Thread(target=run, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if run.error is not None:
        raise run.error
    if not run.result:
        raise TooLong(seconds)
    return run.result[0]
