"""Whether the prompts' embeddings have shifted as a whole: maximum mean discrepancy.

Gretton and others, Journal of Machine Learning Research 13, 2012. The kernel is the mean of two Gaussian ones, of the
usual bandwidth (about the median distance of two prompts) and of half of it, which sees single topics better. Their
feature maps are approximated by orthogonal random features (Yu and others, NeurIPS 2016), so that the cost grows with
the rows and not with their square.
"""

import math

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.types import FloatArray, Labels, Vectors

_FREQUENCIES = 512
"""For each bandwidth. Each gives two features."""
_BANDWIDTHS = (1.0, 0.5)
_SAME = 1e-9


class MeanDiscrepancy:
    """Statistic: the squared distance of the two windows' means in feature space, between 0 and 2.

    Args:
        vectors: the pooled rows, shape ``(rows, dimension)``, of length 1.
        rng: draws the features.
    """

    def __init__(self, vectors: Vectors, rng: np.random.Generator) -> None:
        self._centred = _features(vectors, rng)
        self._centred -= self._centred.mean(axis=0)
        self._spread = float(np.einsum("ij,ij->", self._centred, self._centred, dtype=np.float64))

    def __call__(self, labels: Labels) -> FloatArray:
        """As :class:`monitoring.drift.permutation.Statistic`."""
        rows = labels.shape[1]
        live = labels.sum(axis=1)
        sums = labels.astype(np.float32) @ self._centred
        lengths: FloatArray = np.einsum("ij,ij->i", sums, sums, dtype=np.float64)
        # The rows are centred, so what one window sums up to, the other lacks.
        found: FloatArray = lengths * (rows / (live * (rows - live))) ** 2
        return found

    def effect(self, live: Labels) -> float:
        """The distance beyond what chance gives on average, as a share of the largest that there can be."""
        rows, n = len(live), int(live.sum())
        by_chance = self._spread * rows / (n * (rows - n) * (rows - 1))
        return math.sqrt(max(float(self(live[None, :])[0]) - by_chance, 0.0) / 2)


def _features(vectors: Vectors, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows whose inner products are about the kernel's values."""
    usual = math.sqrt(_mean_squared_distance(vectors))
    parts = list[NDArray[np.float32]]()
    for bandwidth in _BANDWIDTHS:
        angles = vectors @ (_frequencies(vectors.shape[1], rng) / np.float32(usual * bandwidth))
        parts += [np.cos(angles), np.sin(angles)]
    found: NDArray[np.float32] = np.concatenate(parts, axis=1)
    found *= np.float32(1 / math.sqrt(_FREQUENCIES * len(_BANDWIDTHS)))
    return found


def _mean_squared_distance(vectors: Vectors) -> float:
    """Of two rows. In many dimensions it is near the squared median, takes no pairs, and no label can move it."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    lengths = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64)) / len(vectors)
    found = 2 * (lengths - float(centre @ centre))
    return found if found > _SAME else 1.0


def _frequencies(dimension: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Of a Gaussian kernel of bandwidth 1; orthogonal in blocks, each as long as it would be without that."""
    blocks = list[FloatArray]()
    left = _FREQUENCIES
    while left > 0:
        width = min(dimension, left)
        basis, _ = np.linalg.qr(rng.standard_normal((dimension, width)))
        blocks.append(basis * np.sqrt(rng.chisquare(dimension, width)))
        left -= width
    return np.concatenate(blocks, axis=1).astype(np.float32)
