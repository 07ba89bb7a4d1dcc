"""What a person looks at: the most unusual prompts, and where the prompts of both windows lie."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monitoring.drift.neighbours import distances_to
from monitoring.drift.options import DriftOptions
from monitoring.drift.sample import Sample
from monitoring.drift.types import FloatArray, IntArray, Point, Unusual, Vectors

_AXES = 2
_ROWS = 500
"""Of the reference, from which its axes are computed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """See :class:`monitoring.drift.types.DriftReport`."""

    unusual: tuple[Unusual, ...] = ()
    grown: tuple[Unusual, ...] = ()
    map: tuple[Point, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {name: [asdict(one) for one in getattr(self, name)] for name in ("unusual", "grown", "map")}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "Picture":
        """What :meth:`to_json` gave. Raises KeyError, TypeError."""
        return cls(
            unusual=tuple(Unusual(**one) for one in state["unusual"]),
            grown=tuple(Unusual(**one) for one in state["grown"]),
            map=tuple(Point(**one) for one in state["map"]),
        )


def draw(reference: Sample, live: Sample, options: DriftOptions, grown: Sequence[int]) -> Picture:
    """The picture of two windows; empty where either has no embedding.

    Args:
        grown: live rows of the neighbourhood that has grown, in the order in which they are to be listed.
    """
    known_rows, known = reference.embedded()
    rows, vectors = live.embedded()
    if not len(known) or not len(vectors):
        return Picture()
    distances = distances_to(known, vectors, options.neighbours)
    farthest = np.argsort(-distances, kind="stable")[: options.unusual]
    column = {int(row): place for place, row in enumerate(rows)}
    crowd = np.array([column[row] for row in grown], dtype=np.intp)
    marked = {*farthest.tolist(), *crowd.tolist()}
    points = list[Point]()
    if options.map_points:
        axes = _Axes(known)
        shown = np.union1d(_spread(len(vectors), options.map_points), sorted(marked)).astype(np.intp)
        before = _spread(len(known), options.map_points)
        points += _points(axes, reference, known_rows, known, before, ())
        points += _points(axes, live, rows, vectors, shown, marked, is_live=True)
    return Picture(
        unusual=_described(live, rows, distances, farthest),
        grown=_described(live, rows, distances, crowd),
        map=tuple(points),
    )


class _Axes:
    """The two directions in which the reference varies most: its first principal components."""

    def __init__(self, vectors: Vectors) -> None:
        some = vectors[_spread(len(vectors), _ROWS)]
        self._centre: FloatArray = some.mean(axis=0, dtype=np.float64)
        _, _, found = np.linalg.svd(some - self._centre, full_matrices=False)
        axes: FloatArray = found[:_AXES].T
        # An axis has no sign of its own: its largest entry is positive, so that the map does not flip between looks.
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
        self._axes = axes * np.where(largest < 0, -1.0, 1.0)

    def place(self, vectors: Vectors) -> FloatArray:
        """Shape ``(rows, 2)``."""
        found: FloatArray = np.zeros((len(vectors), _AXES))
        found[:, : self._axes.shape[1]] = (vectors - self._centre) @ self._axes
        return found


def _described(live: Sample, rows: IntArray, distances: FloatArray, chosen: IntArray) -> tuple[Unusual, ...]:
    found = list[Unusual]()
    for place in chosen.tolist():
        row = live.rows[int(rows[place])]
        distance = float(distances[place])
        found.append(Unusual(row.place, row.at, distance, row.language, row.adapter, row.text))
    return tuple(found)


def _points(
    axes: _Axes,
    sample: Sample,
    rows: IntArray,
    vectors: Vectors,
    chosen: IntArray,
    marked: Collection[int],
    *,
    is_live: bool = False,
) -> list[Point]:
    return [
        Point(float(x), float(y), live=is_live, place=sample.rows[int(rows[place])].place, marked=place in marked)
        for place, (x, y) in zip(chosen.tolist(), axes.place(vectors[chosen]).tolist(), strict=True)
    ]


def _spread(rows: int, most: int) -> IntArray:
    """At most so many places of ``rows``, evenly apart."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.intp))
