"""Cases that ask nearly the same: cosine of TF-IDF vectors (Salton & Buckley, 1988). Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from training.diagnosis.words import is_number, words


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another text, and how near it is."""

    index: int
    similarity: float
    """Cosine, in [0, 1]."""
    same_numbers: bool
    """Texts that differ in a number may well want different answers."""


class Neighbours:
    """Texts by index; asks for the nearest."""

    def __init__(self, texts: Sequence[str]) -> None:
        split = [words(one) for one in texts]
        documents = Counter(word for one in split for word in set(one))
        self._numbers = [frozenset(word for word in one if is_number(word)) for one in split]
        self._vectors = [_unit(Counter(one), documents, len(split)) for one in split]
        self._postings: dict[str, list[int]] = defaultdict(list)
        for index, vector in enumerate(self._vectors):
            for word in vector:
                self._postings[word].append(index)

    def nearest(self, index: int, *, count: int, least: float) -> list[Neighbour]:
        """Up to ``count`` other texts of at least that similarity, the nearest first."""
        vector = self._vectors[index]
        similarities: dict[int, float] = defaultdict(float)
        for word, weight in vector.items():
            for other in self._postings[word]:
                similarities[other] += weight * self._vectors[other][word]
        similarities.pop(index, None)
        near = sorted((-value, other) for other, value in similarities.items() if value >= least)
        return [
            Neighbour(other, min(1.0, -value), self._numbers[other] == self._numbers[index])
            for value, other in near[:count]
        ]


def _unit(counts: Counter[str], documents: Counter[str], total: int) -> dict[str, float]:
    weights = {
        word: (1 + math.log(count)) * (math.log((1 + total) / (1 + documents[word])) + 1)
        for word, count in counts.items()
    }
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {word: weight / length for word, weight in weights.items()}
