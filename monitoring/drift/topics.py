"""Whether live prompts are where the reference has few: new topics, and topics that have grown.

Two statistics on one graph of neighbours, each a scan: the largest likelihood ratio over many zones that could hold too
many live prompts. A mean over all prompts would drown the few that are new.

``FarPrompts`` has the farthest prompts as zones (a tail of the distance to the reference, as higher criticism and the
test of Berk and Jones scan the tail of p-values: Donoho and Jin, Annals of Statistics 32, 2004): prompts unlike
anything known, whether or not they are like each other. ``CrowdedNeighbourhoods`` has the neighbourhoods of all prompts
as zones (the spatial scan statistic: Kulldorff, Communications in Statistics 26, 1997): prompts that are like each
other, whether or not anything known is near them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.likelihood import log_likelihood_ratio
from monitoring.drift.neighbours import Neighbours
from monitoring.drift.types import FloatArray, IntArray, Labels, Vectors

LARGEST = 48
"""Neighbours that the graph must have, where there are so many rows."""
_SIZES = (6, 12, 24, LARGEST)
"""Neighbours in a neighbourhood, beside the prompt that it is of."""
_TAILS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the reference that lie as far as a zone's nearest prompt."""


@dataclass(frozen=True, slots=True)
class Zone:
    """Where live prompts are too many."""

    live_share: float
    """Of all live prompts, how many are in it."""
    reference_share: float
    """The same of the reference's."""
    live: IntArray
    """Its live rows."""

    @property
    def excess(self) -> float:
        """Share of the live prompts that are too many in it, between 0 and 1."""
        return max(self.live_share - self.reference_share, 0.0)


class FarPrompts:
    """Statistic: the distances of live prompts from the reference against those of its own prompts from each other.

    Args:
        graph: of the pooled rows.
        neighbour: which of its nearest reference rows a prompt's distance is measured to, from 1. Where the graph's
            neighbours hold fewer reference rows, the distance is taken for that of the last of them.
    """

    def __init__(self, graph: Neighbours, neighbour: int) -> None:
        self._graph = graph
        self._neighbour = neighbour
        self._all_rows = np.arange(graph.places.shape[1])

    def __call__(self, labels: Labels) -> FloatArray:
        """As :class:`monitoring.drift.permutation.Statistic`."""
        tails = [_Tails.of(distances, row) for distances, row in zip(self._distances(labels), labels, strict=True)]
        live = np.array([one.live for one in tails])
        inside = np.array([one.inside for one in tails])
        ratios = log_likelihood_ratio(live, inside, int(labels[0].sum()), labels.shape[1])
        found: FloatArray = ratios.max(axis=1)
        return found

    def zone(self, live: Labels) -> Zone:
        """The tail that holds the most too many, for labels of shape ``(rows,)``."""
        (distances,) = self._distances(live[None, :])
        tails = _Tails.of(distances, live)
        ratios = log_likelihood_ratio(tails.live, tails.inside, int(live.sum()), len(live))
        inside = distances >= tails.limits[int(np.argmax(ratios))]
        return Zone(float(inside[live].mean()), float(inside[~live].mean()), np.flatnonzero(inside & live))

    def _distances(self, labels: Labels) -> Vectors:
        """Of every row from the reference, itself left out; shape as the labels'."""
        known = _by_row(~labels)
        count, column = np.zeros_like(known), np.zeros_like(known)
        for near in self._graph.places[:-1]:
            count += known.take(near, axis=0)
            short = count < self._neighbour
            if not short.any():
                break
            column += short
        found: Vectors = self._graph.distances[column.T, self._all_rows]
        return found


@dataclass(frozen=True, slots=True)
class _Tails:
    """The zones of one choice of labels, by their size."""

    limits: Vectors
    """The distance at which each begins."""
    live: IntArray
    inside: IntArray
    """Its live rows, and all of its rows."""

    @classmethod
    def of(cls, distances: Vectors, live: Labels) -> "_Tails":
        reference = np.sort(distances[~live])
        sizes = np.unique(np.maximum(np.rint(len(reference) * np.array(_TAILS)), 1).astype(np.intp))
        limits: Vectors = reference[len(reference) - sizes]
        # Distances that are equal are in a tail together, so it may hold more than its size.
        known = len(reference) - np.searchsorted(reference, limits, side="left")
        new = (distances[live][:, None] >= limits).sum(axis=0)
        return cls(limits, new, new + known)


class CrowdedNeighbourhoods:
    """Statistic: the share of live prompts in the neighbourhoods of all prompts.

    Args:
        vectors: the pooled rows, shape ``(rows, dimension)``, of length 1.
        graph: of them.
        live: how many of them are live.
    """

    def __init__(self, vectors: Vectors, graph: Neighbours, live: int) -> None:
        most, rows = graph.places.shape
        self._vectors = vectors
        self._graph = graph
        self._sizes = [size for size in _SIZES if size <= most] or [most]
        self._by_count = [log_likelihood_ratio(np.arange(size + 2), size + 1, live, rows) for size in self._sizes]

    def __call__(self, labels: Labels) -> FloatArray:
        """As :class:`monitoring.drift.permutation.Statistic`."""
        counts = self._counts(labels)
        # Of zones of one size the one with the most live rows has the largest ratio.
        ratios = [ratio[count.max(axis=0)] for ratio, count in zip(self._by_count, counts, strict=True)]
        found: FloatArray = np.max(ratios, axis=0)
        return found

    def zone(self, live: Labels) -> Zone:
        """Where there are the most too many, for labels of shape ``(rows,)``.

        It is around the prompt with the most crowded neighbourhood, and as large as makes the ratio largest, so that a
        topic that has grown is shown whole; the nearest to that prompt come first.
        """
        counts = [count[:, 0] for count in self._counts(live[None, :])]
        best = int(np.argmax([ratio[count.max()] for ratio, count in zip(self._by_count, counts, strict=True)]))
        centre = self._vectors[int(np.argmax(counts[best]))]
        order = np.argsort(-(self._vectors @ centre), kind="stable")
        within = np.cumsum(live[order])[:-1]
        ratios = log_likelihood_ratio(within, np.arange(1, len(live)), int(live.sum()), len(live))
        inside = order[: int(np.argmax(ratios)) + 1]
        new = inside[live[inside]]
        known = len(inside) - len(new)
        return Zone(len(new) / int(live.sum()), known / int((~live).sum()), new)

    def _counts(self, labels: Labels) -> list[NDArray[np.uint8]]:
        """For each size the live rows in the neighbourhood of every row; each of shape ``(rows, permutations)``."""
        live = _by_row(labels)
        found, count, before = list[NDArray[np.uint8]](), live.copy(), 0
        for size in self._sizes:
            for near in self._graph.places[before:size]:
                count += live.take(near, axis=0)
            found.append(count.copy())
            before = size
        return found


def _by_row(labels: Labels) -> NDArray[np.uint8]:
    """Labels as shape ``(rows, permutations)``: to take the same rows of all permutations is to copy whole rows."""
    found: NDArray[np.uint8] = np.ascontiguousarray(labels.T).view(np.uint8)
    return found
