"""Which swaps a run makes, in which order. Pure."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Action = Literal["promote", "canary", "rollback"]


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of what an alias means."""

    action: Action
    version: str | None = None
    share: float = 0.0

    def __str__(self) -> str:
        share = f" for {self.share:.0%}" if self.share else ""
        return f"{self.action} {self.version or ''}{share}".strip()


def plan(stable: str, versions: Sequence[str], count: int) -> list[Swap]:
    """``count`` swaps from ``stable`` on that go through every kind of change and keep coming back to old versions.

    Raises:
        ValueError: there are fewer than four versions.
    """
    if len(versions) < 4:
        raise ValueError(f"{len(versions)} versions are too few for every kind of swap")
    ring = itertools.cycle(versions)
    swaps: list[Swap] = []
    while len(swaps) < count:
        first, second, third = _next_three(ring, stable)
        swaps += [
            Swap("promote", first),
            Swap("canary", second, 0.3),
            Swap("canary", second, 0.7),
            Swap("promote", second),
            Swap("rollback"),  # back to `first`
            Swap("canary", third, 0.5),
            Swap("rollback"),  # drops the canary
        ]
        stable = first
    return swaps[:count]


def _next_three(ring: Iterator[str], stable: str) -> tuple[str, str, str]:
    found: list[str] = []
    while len(found) < 3:
        version = next(ring)
        if version != stable and version not in found:
            found.append(version)
    return found[0], found[1], found[2]
