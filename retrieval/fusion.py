"""Joining the lists of several arms into one. Pure.

Min-max weighted fusion (Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023) and
reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009).
"""

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

Id = TypeVar("Id", bound=Hashable)

RRF_K = 60
"""The constant of the paper."""


class FusionMethod(StrEnum):
    """How lists are joined."""

    MIN_MAX = "min_max"
    RRF = "rrf"


def fuse(
    method: FusionMethod, arms: Mapping[str, Sequence[tuple[Id, float]]], weights: Mapping[str, float]
) -> list[tuple[Id, float]]:
    """One list of (id, score) out of several, best first; ties by id, so that equal lists give one order.

    An arm without a weight counts 1, an arm of weight 0 adds no candidates. An arm that found nothing changes nothing.
    """
    joined: dict[Id, float] = {}
    total = sum(weights.get(name, 1.0) for name, scored in arms.items() if scored) or 1.0
    for name, scored in arms.items():
        weight = weights.get(name, 1.0) / total
        if weight <= 0:
            continue
        parts = min_max(scored) if method is FusionMethod.MIN_MAX else reciprocal(scored)
        for one, score in parts.items():
            joined[one] = joined.get(one, 0.0) + weight * score
    return sorted(joined.items(), key=_best_first)


def _best_first(pair: tuple[Any, float]) -> tuple[float, Any]:
    return -pair[1], pair[0]


def min_max(scored: Sequence[tuple[Id, float]]) -> dict[Id, float]:
    """Scores stretched to [0, 1]. What an arm did not return counts 0 there, as its worst does."""
    if not scored:
        return {}
    low, high = min(score for _, score in scored), max(score for _, score in scored)
    width = high - low
    return {one: (score - low) / width if width > 0 else 1.0 for one, score in scored}


def reciprocal(scored: Sequence[tuple[Id, float]]) -> dict[Id, float]:
    """``1 / (60 + position)``, the first position being 1, divided by the first's so that the best is 1."""
    return {one: (RRF_K + 1) / (RRF_K + position) for position, (one, _) in enumerate(scored, start=1)}
