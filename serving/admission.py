"""How many generations may be in progress, and waiting for the last one to end."""

import asyncio
from collections import Counter

from serving.config import LimitSettings
from serving.errors import NotReady, Overloaded


class Admission:
    """Counts generations in progress on this replica. For one event loop."""

    def __init__(self, limits: LimitSettings) -> None:
        self._most = limits.max_concurrent_requests
        self._most_per_key = limits.max_concurrent_per_key
        self._by_key: Counter[str] = Counter()
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.in_flight = 0
        """Generations admitted and not yet ended."""

    @property
    def load(self) -> float:
        """Share of the places that are taken, in [0, 1]."""
        return self.in_flight / self._most

    def enter(self, key: str | None) -> None:
        """Take a place for the caller ``key``; None for one without a key.

        Raises:
            Overloaded: every place is taken, or all that one key may have.
            NotReady: the gateway is shutting down.
        """
        if self._closed:
            raise NotReady("The gateway is shutting down.")
        if self.in_flight >= self._most:
            raise Overloaded(f"The gateway is at its limit of {self._most} requests in progress; try again soon.")
        if key is not None and self._most_per_key is not None:
            if self._by_key[key] >= self._most_per_key:
                raise Overloaded(f"Your API key is at its limit of {self._most_per_key} requests in progress.")
            self._by_key[key] += 1
        if self.in_flight == 0:
            self._empty.clear()
        self.in_flight += 1

    def leave(self, key: str | None) -> None:
        """Give the place back."""
        self.in_flight -= 1
        if key is not None and self._most_per_key is not None:
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]
        if self.in_flight == 0:
            self._empty.set()

    async def drain(self, timeout_s: float) -> bool:
        """Admit nothing more and wait for what is in progress. False where ``timeout_s`` was not enough."""
        self._closed = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
