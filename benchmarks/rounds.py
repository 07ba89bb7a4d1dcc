"""Interleaved rounds: every server takes its turn in every round, so that a slow minute slows them all."""

import asyncio
import gc
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fleet import say
from benchmarks.load import Call, LoadResult, run_load
from benchmarks.stats import Paired, differences, percentile, ratios
from benchmarks.wire import Address

CallsFor = Callable[[int, int], Iterable[Call]]
"""(round, concurrency) → the calls of one turn."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that takes its turn in every round."""

    address: Address
    calls: CallsFor


@dataclass(slots=True)
class Series:
    """One server's turns at one concurrency, a turn per round."""

    turns: list[LoadResult] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Answers that did not count, over all turns."""
        return sum(len(turn.samples) - len(turn.good) for turn in self.turns)

    def requests_per_s(self) -> list[float]:
        """Per round."""
        return [turn.requests_per_s for turn in self.turns]

    def tokens_per_s(self) -> list[float]:
        """Per round."""
        return [turn.tokens_per_s for turn in self.turns]

    def e2e_p50_s(self) -> list[float]:
        """Per round, in seconds."""
        return [percentile([sample.e2e_s for sample in turn.good], 0.5) for turn in self.turns]

    def ttft_p50_s(self) -> list[float]:
        """Per round, in seconds."""
        return [
            percentile([sample.ttft_s for sample in turn.good if sample.ttft_s is not None], 0.5) for turn in self.turns
        ]

    def report(self) -> dict[str, Any]:
        """All turns poured together: absolute numbers, for orientation only."""
        whole = LoadResult(
            [sample for turn in self.turns for sample in turn.samples], sum(turn.wall_s for turn in self.turns)
        )
        return whole.report()


async def interleave(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    concurrency: int,
    seconds: float | None = None,
    rest_s: float = 0.0,
    label: str = "",
) -> dict[str, Series]:
    """Load the contenders one after the other, ``rounds`` times, in an order of its own in every round.

    The orders are random, and the same in every run: nobody always follows the same neighbour, whose last work may
    still be going on. ``rest_s`` seconds go by before each turn, for servers that stay busy after their last answer.
    """
    series = {name: Series() for name in contenders}
    names = list(contenders)
    order = random.Random(len(names))
    for number in range(rounds):
        order.shuffle(names)
        for name in names:
            gc.collect()
            await asyncio.sleep(rest_s)
            calls = contenders[name].calls(number, concurrency)
            result = await run_load(contenders[name].address, calls, concurrency=concurrency, seconds=seconds)
            series[name].turns.append(result)
            say(
                f"{label} c={concurrency} round {number + 1}/{rounds} {name}: {result.requests_per_s:.1f} requests/s, "
                f"{result.tokens_per_s:.1f} tokens/s, {sum(result.errors.values())} failures"
            )
            if result.errors:
                say(f"  {result.errors}")
    return series


def failures(label: str, series: Mapping[str, Series]) -> list[str]:
    """A line for everyone whose answers did not all count."""
    return [f"{name}, {label}: {one.failures} failures" for name, one in series.items() if one.failures]


def added_ms(series: Series, reference: Series) -> Paired:
    """Added p50 of the whole answer, in milliseconds, round by round."""
    return Paired(tuple(value * 1000 for value in differences(series.e2e_p50_s(), reference.e2e_p50_s()).values))


def added_ttft_ms(series: Series, reference: Series) -> Paired:
    """Added p50 of the time to the first token, in milliseconds, round by round."""
    return Paired(tuple(value * 1000 for value in differences(series.ttft_p50_s(), reference.ttft_p50_s()).values))


def throughput_ratio(series: Series, reference: Series) -> Paired:
    """Tokens per second against the reference, round by round."""
    return ratios(series.tokens_per_s(), reference.tokens_per_s())
