"""All signals of one look, each tested at its share of the look's false alarm rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.drift.embedding import MeanDiscrepancy
from monitoring.drift.neighbours import nearest
from monitoring.drift.options import (
    ANSWER_LENGTH,
    EMBEDDING,
    LANGUAGE,
    LEAST_ROWS,
    OUTCOME,
    PROMPT_LENGTH,
    RETRIEVAL_SCORE,
    ROUTING,
    SIGNALS,
    TOPICS,
    DriftOptions,
)
from monitoring.drift.permutation import Beat, Permuted, Statistic, nothing, permutation_test, permutations_for
from monitoring.drift.sample import Row, Sample
from monitoring.drift.scalars import CategoryFrequencies, KolmogorovSmirnov
from monitoring.drift.topics import LARGEST, CrowdedNeighbourhoods, FarPrompts, Zone
from monitoring.drift.types import DriftSignal, FloatArray, IntArray, Labels, Vectors

_NUMBERS: Mapping[str, Callable[[Row], float | None]] = {
    PROMPT_LENGTH: lambda row: row.prompt_tokens,
    ANSWER_LENGTH: lambda row: row.answer_tokens,
    RETRIEVAL_SCORE: lambda row: row.retrieval_score,
}
_CATEGORIES: Mapping[str, Callable[[Row], str]] = {
    LANGUAGE: lambda row: row.language,
    ROUTING: lambda row: row.adapter,
    OUTCOME: lambda row: row.outcome,
}
_TOPIC_TESTS = 2
"""Far prompts and crowded neighbourhoods share the signal's level by Bonferroni's inequality."""
_SHOWN = 48
"""Live prompts of a crowd that are shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the tests of one look have in common."""

    reference: Sample
    live: Sample
    options: DriftOptions
    rng: np.random.Generator
    beat: Beat = nothing
    """See :func:`monitoring.drift.permutation.permutation_test`."""

    def test(self, statistic: Statistic, labels: Labels, alpha: float) -> Permuted:
        """Whether the labels matter to the statistic, at this level."""
        return permutation_test(statistic, labels, permutations_for(alpha), self.rng, self.beat)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a look found."""

    signals: tuple[DriftSignal, ...]
    """Of each signal that is watched; ``detected`` is what this look says."""
    grown: tuple[int, ...] = ()
    """Live rows in the middle of the neighbourhood that has grown most, where ``topics`` was detected by it."""


@dataclass(frozen=True, slots=True)
class _Sizes:
    reference: int
    live: int

    @property
    def enough(self) -> bool:
        return min(self.reference, self.live) >= LEAST_ROWS

    @property
    def labels(self) -> Labels:
        """Of the reference's rows, followed by the live ones."""
        return np.arange(self.reference + self.live) >= self.reference


def judge(look: Look, alpha: float) -> Judgement:
    """Compare the two windows in every signal that is watched.

    Args:
        alpha: probability that any signal is detected although nothing has changed. By Bonferroni's inequality each
            signal has a share of it by its weight; those that too few rows have a value of leave theirs to the others.
    """
    weights = look.options.weights
    watched = [name for name in SIGNALS if weights.get(name, 0.0) > 0]
    sizes = {name: _Sizes(_count(look.reference, name), _count(look.live, name)) for name in watched}
    whole = sum(weights[name] for name in watched if sizes[name].enough)
    levels = {name: alpha * weights[name] / whole for name in watched if sizes[name].enough}
    pooled = _Pooled(look) if {TOPICS, EMBEDDING} & levels.keys() else None
    signals, grown = list[DriftSignal](), tuple[int, ...]()
    for name in watched:
        if name not in levels:
            signals.append(_untested(name, sizes[name]))
        elif pooled is not None and name == TOPICS:
            signal, grown = pooled.topics(levels[name])
            signals.append(signal)
        elif pooled is not None and name == EMBEDDING:
            signals.append(pooled.embedding(levels[name]))
        elif name in _NUMBERS:
            signals.append(_compare_numbers(name, look, levels[name]))
        else:
            signals.append(_compare_categories(name, look, levels[name]))
    return Judgement(tuple(signals), grown)


class _Pooled:
    """The embeddings of both windows, in an order without meaning: neighbours that are equally near come by it."""

    def __init__(self, look: Look) -> None:
        _, known = look.reference.embedded()
        self._live_rows, new = look.live.embedded()
        self._sizes = _Sizes(len(known), len(new))
        self._order: IntArray = look.rng.permutation(len(known) + len(new))
        self._labels = self._sizes.labels[self._order]
        self._vectors: Vectors = np.concatenate([known, new])[self._order]
        self._look = look

    def topics(self, alpha: float) -> tuple[DriftSignal, tuple[int, ...]]:
        """The signal, and which live rows are in the neighbourhood that has grown if that was what was found."""
        graph = nearest(self._vectors, LARGEST)
        far = FarPrompts(graph, self._look.options.neighbours)
        crowded = CrowdedNeighbourhoods(self._vectors, graph, self._sizes.live)
        by_distance = self._look.test(far, self._labels, alpha / _TOPIC_TESTS)
        by_crowding = self._look.test(crowded, self._labels, alpha / _TOPIC_TESTS)
        # Both are log likelihood ratios: where chance reaches neither, the larger one explains more.
        is_crowd = (by_crowding.p_value, -by_crowding.statistic) < (by_distance.p_value, -by_distance.statistic)
        best, zone = (by_crowding, crowded.zone(self._labels)) if is_crowd else (by_distance, far.zone(self._labels))
        p_value = min(1.0, _TOPIC_TESTS * best.p_value)
        signal = DriftSignal(
            TOPICS,
            statistic=best.statistic,
            p_value=p_value,
            effect=zone.excess,
            detected=p_value <= alpha,
            reference_n=self._sizes.reference,
            live_n=self._sizes.live,
            note=_topic_note(zone, is_crowd=is_crowd),
            alpha=alpha,
        )
        if not (is_crowd and signal.detected):
            return signal, ()
        shown = self._order[zone.live[:_SHOWN]] - self._sizes.reference
        return signal, tuple(self._live_rows[shown].tolist())

    def embedding(self, alpha: float) -> DriftSignal:
        """The signal."""
        statistic = MeanDiscrepancy(self._vectors, self._look.rng)
        found = self._look.test(statistic, self._labels, alpha)
        return DriftSignal(
            EMBEDDING,
            statistic=found.statistic,
            p_value=found.p_value,
            effect=statistic.effect(self._labels),
            detected=found.p_value <= alpha,
            reference_n=self._sizes.reference,
            live_n=self._sizes.live,
            note="maximum mean discrepancy of the prompts' embeddings",
            alpha=alpha,
        )


def _compare_numbers(name: str, look: Look, alpha: float) -> DriftSignal:
    known, new = _numbers(look.reference, name), _numbers(look.live, name)
    statistic, labels = KolmogorovSmirnov(np.concatenate([known, new])), _Sizes(len(known), len(new)).labels
    found = look.test(statistic, labels, alpha)
    return DriftSignal(
        name,
        statistic=found.statistic,
        p_value=found.p_value,
        effect=found.statistic,
        detected=found.p_value <= alpha,
        reference_n=len(known),
        live_n=len(new),
        note=f"median {np.median(known):.4g} before, {np.median(new):.4g} now",
        alpha=alpha,
    )


def _compare_categories(name: str, look: Look, alpha: float) -> DriftSignal:
    category, reference, live = _CATEGORIES[name], look.reference.rows, look.live.rows
    statistic = CategoryFrequencies([category(row) for row in (*reference, *live)])
    labels = _Sizes(len(reference), len(live)).labels
    found = look.test(statistic, labels, alpha)
    before, now = statistic.shares(labels)
    moved = int(np.argmax(np.abs(now - before)))
    return DriftSignal(
        name,
        statistic=found.statistic,
        p_value=found.p_value,
        effect=float(np.abs(now - before).sum() / 2),
        detected=found.p_value <= alpha,
        reference_n=len(reference),
        live_n=len(live),
        note=f"{statistic.names[moved]} {before[moved]:.1%} before, {now[moved]:.1%} now",
        alpha=alpha,
    )


def _untested(name: str, sizes: _Sizes) -> DriftSignal:
    return DriftSignal(
        name,
        statistic=0.0,
        p_value=1.0,
        effect=0.0,
        detected=False,
        reference_n=sizes.reference,
        live_n=sizes.live,
        note=f"not tested: that takes {LEAST_ROWS} requests with a value in either window",
    )


def _topic_note(zone: Zone, *, is_crowd: bool) -> str:
    shares = f"{zone.live_share:.1%} of the prompts now, {zone.reference_share:.1%} before"
    return f"one neighbourhood holds {shares}" if is_crowd else f"as far from the reference are {shares}"


def _count(sample: Sample, name: str) -> int:
    if name in (TOPICS, EMBEDDING):
        return sample.embeddings
    return len(_numbers(sample, name)) if name in _NUMBERS else len(sample.rows)


def _numbers(sample: Sample, name: str) -> FloatArray:
    values = (_NUMBERS[name](row) for row in sample.rows)
    return np.array([value for value in values if value is not None], dtype=np.float64)
