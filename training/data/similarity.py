"""Which texts say nearly the same, in time and memory linear in their number. Pure.

A text is the set of its runs of five characters (Broder: On the resemblance and containment of documents, 1997); two
texts are near where the Jaccard similarity of their sets reaches a threshold. Of a long text the set is represented by
its smallest hashes (bottom-k sketch: Cohen and Kaplan, 2007), and only texts that fall into one bucket of a banded
MinHash (Leskovec, Rajaraman and Ullman: Mining of Massive Datasets, chapter 3) are compared at all.

Runs of characters and not of words, as retrieval.refine has them for passages: rows are short, and one changed word of
eight would make two questions that are the same look half unlike.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""Sorted and distinct."""

SHINGLE = 5
SKETCH = 512
BANDS, BAND_ROWS = 24, 5
"""At a resemblance of 0.8 a pair shares a bucket with probability 0.9999, at 0.7 with 0.99, at 0.4 with 0.22."""
_COMPARED = 8
"""Texts of one bucket that a new one is compared with: what keeps a bucket of thousands from costing their square."""
_SAMPLE = 2_000
_COMMON_SHARE = 1 / 3
_FEWEST_FOR_COMMON = 20

_WORDS = re.compile(r"\w+")


def normalised(text: str) -> str:
    """The text without what does not matter: case, width, punctuation and white space."""
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).casefold()))


def shingle_hashes(text: str) -> Hashes:
    """Hashes of the runs of five characters of a normalised text; of a shorter text, of the whole."""
    padded = text if len(text) >= SHINGLE else text.ljust(SHINGLE)
    codes = np.frombuffer(padded.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    runs = len(codes) - SHINGLE + 1
    value = np.zeros(runs, dtype=np.uint64)
    for offset in range(SHINGLE):
        value = value * np.uint64(0x1_0000_01B3) + codes[offset : offset + runs]
    return np.unique(_mixed(value))


def _mixed(value: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring values become unrelated."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = value ^ (value >> np.uint64(31))
    return mixed


def common_hashes(texts: Sequence[str]) -> Hashes:
    """What at least a third of the texts share: an instruction or a template says nothing about one of them."""
    step = max(1, len(texts) // _SAMPLE)
    sample = texts[::step]
    if len(sample) < _FEWEST_FOR_COMMON:
        return np.zeros(0, dtype=np.uint64)
    values, counts = np.unique(np.concatenate([shingle_hashes(text) for text in sample]), return_counts=True)
    common: Hashes = values[counts >= _COMMON_SHARE * len(sample)]
    return common


def sketch(text: str, common: Hashes) -> Hashes:
    """The SKETCH smallest hashes of a normalised text that are not common."""
    own = shingle_hashes(text)
    return own[~np.isin(own, common, assume_unique=True)][:SKETCH] if len(common) else own[:SKETCH]


def resemblance(one: Hashes, other: Hashes) -> float:
    """The Jaccard similarity of two sets by their sketches: exact up to SKETCH elements of their union."""
    union = np.union1d(one, other)[:SKETCH]
    shared = np.intersect1d(one, other, assume_unique=True)
    return int(np.isin(union, shared, assume_unique=True).sum()) / len(union) if len(union) else 0.0


@dataclass(frozen=True, slots=True)
class Near:
    """A text that was added before, and how much it resembles the one asked about."""

    key: int
    resemblance: float


class NearTexts:
    """Texts to be found again by texts that say nearly the same."""

    def __init__(self, threshold: float, common: Hashes) -> None:
        self._threshold = threshold
        self._common = common
        self._sketches: dict[int, Hashes] = {}
        self._buckets: dict[tuple[int, bytes], list[int]] = {}

    def add(self, key: int, text: str) -> None:
        """Remember a normalised text. One that is made of common parts alone is not found again."""
        own = sketch(text, self._common)
        if not len(own):
            return
        self._sketches[key] = own
        for bucket in _bands(own):
            members = self._buckets.setdefault(bucket, [])
            if len(members) < _COMPARED:
                members.append(key)

    def near(self, text: str) -> list[Near]:
        """Every text that was compared with this one and reaches the threshold."""
        own = sketch(text, self._common)
        if not len(own):
            return []
        keys = dict.fromkeys(key for bucket in _bands(own) for key in self._buckets.get(bucket, ()))
        found = [Near(key, resemblance(own, self._sketches[key])) for key in keys]
        return [near for near in found if near.resemblance >= self._threshold]


def _bands(own: Hashes) -> Iterable[tuple[int, bytes]]:
    """The buckets of a sketch: MinHash by multiply-add, 24 bands of five."""
    signature = (own[:, None] * _FACTORS[None, :] + _OFFSETS[None, :]).min(axis=0)
    return [(band, signature[band * BAND_ROWS : (band + 1) * BAND_ROWS].tobytes()) for band in range(BANDS)]


_RANDOM = np.random.default_rng(0)
_FACTORS: Hashes = _RANDOM.integers(1, 2**63, BANDS * BAND_ROWS, dtype=np.uint64) | np.uint64(1)
_OFFSETS: Hashes = _RANDOM.integers(0, 2**63, BANDS * BAND_ROWS, dtype=np.uint64)
