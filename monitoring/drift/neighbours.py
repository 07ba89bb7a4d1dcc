"""The nearest neighbours of every prompt among the prompts of both windows."""

from dataclasses import dataclass

import numpy as np

from monitoring.drift.types import FloatArray, IntArray, Vectors

_BLOCK = 512
"""Rows whose distances are held at once: all at once they would be the square of their number."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each row its nearest others, the nearest first; both of shape ``(k, rows)``."""

    places: IntArray
    distances: Vectors
    """Cosine distances."""


def nearest(vectors: Vectors, k: int) -> Neighbours:
    """The ``k`` nearest rows of each row, itself left out; fewer where there are not so many.

    Rows as near as the last one are chosen by their order: give it no meaning.

    Args:
        vectors: shape ``(rows, dimension)``, rows of length 1, at least two of them.
    """
    rows = len(vectors)
    k = min(k, rows - 1)
    places: IntArray = np.empty((k, rows), dtype=np.intp)
    distances: Vectors = np.empty((k, rows), dtype=np.float32)
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        away = 1 - vectors[start:stop] @ vectors.T
        away[np.arange(stop - start), np.arange(start, stop)] = np.inf
        found = np.argpartition(away, k - 1, axis=1)[:, :k]
        far = np.take_along_axis(away, found, axis=1)
        order = np.argsort(far, axis=1, kind="stable")
        places[:, start:stop] = np.take_along_axis(found, order, axis=1).T
        distances[:, start:stop] = np.take_along_axis(far, order, axis=1).T
    return Neighbours(places, np.maximum(distances, 0))


def distances_to(reference: Vectors, vectors: Vectors, k: int) -> FloatArray:
    """Cosine distance of each vector from its ``k``-th nearest row of the reference; from the last, if fewer."""
    k = min(k, len(reference))
    found: FloatArray = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        away = 1 - vectors[start : start + _BLOCK] @ reference.T
        found[start : start + _BLOCK] = np.partition(away, k - 1, axis=1)[:, k - 1]
    clipped: FloatArray = np.maximum(found, 0.0)
    return clipped
