"""``Turns``: many threads use one thing, one at a time, and those that somebody waits for go first. Pure."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_REST = 3.0
"""How many times as long as their last turn took patient waiters let urgent ones go first: a quarter is theirs."""


class Turns:
    """A lock that is handed on: to an urgent waiter if there is one, else to a patient one; among equals in order.

    Whoever has much to do takes a turn for each part of it. Urgent waiters without end do not starve patient ones,
    which get a quarter of the time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changing = threading.Lock()
        self._taken = False
        self._rested = 0.0
        """From when a patient waiter goes before urgent ones."""
        self._urgent: deque[threading.Event] = deque()
        self._patient: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends. May not be nested."""
        self._acquire(self._urgent if urgent else self._patient)
        began = self._clock()
        try:
            yield
        finally:
            if not urgent:
                ended = self._clock()
                self._rested = ended + _REST * (ended - began)
            self._hand_on()

    def waiting(self) -> int:
        """How many wait now."""
        with self._changing:
            return len(self._urgent) + len(self._patient)

    def _acquire(self, queue: deque[threading.Event]) -> None:
        with self._changing:
            if not self._taken:
                self._taken = True
                return
            called = threading.Event()
            queue.append(called)
        try:
            called.wait()
        except BaseException:
            self._leave(queue, called)
            raise

    def _leave(self, queue: deque[threading.Event], called: threading.Event) -> None:
        with self._changing:
            if called in queue:
                queue.remove(called)
                return
        self._hand_on()

    def _hand_on(self) -> None:
        with self._changing:
            queue = self._patient if self._clock() >= self._rested else self._urgent
            queue = queue or self._urgent or self._patient
            if queue:
                queue.popleft().set()
            else:
                self._taken = False


def in_turns(
    work: Callable[[list[str]], Sequence[T]], texts: Sequence[str], size: int, turns: Turns, *, urgent: bool
) -> list[T]:
    """What ``work`` makes of each text, with a turn for every ``size`` of them.

    Texts of like length go together, since a model pads those of one batch to the longest.
    """
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found: dict[int, T] = {}
    for start in range(0, len(order), size):
        places = order[start : start + size]
        with turns.turn(urgent=urgent):
            made = work([texts[place] for place in places])
        found.update(zip(places, made, strict=True))
    return [found[place] for place in range(len(texts))]
