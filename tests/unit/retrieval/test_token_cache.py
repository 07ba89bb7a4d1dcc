"""Token vectors of passages that were looked at before."""

from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.embedding import normalised
from retrieval.token_cache import CachedTokenVectors
from retrieval.types import Vectors

WIDTH = 384
ONE = 10 * (WIDTH + 4)
"""Bytes that ten tokens take."""


class Counting:
    """Ten tokens for each text, drawn by its content, which it remembers to have made."""

    def __init__(self, tokens: int = 10) -> None:
        self.made: list[str] = []
        self._tokens = tokens

    def token_vectors(self, texts: Sequence[str], *, query: bool) -> list[Vectors]:
        self.made += texts
        return [self.vectors(text) for text in texts]

    def vectors(self, text: str) -> Vectors:
        draw = np.random.default_rng(list(text.encode()))
        return normalised(draw.normal(size=(self._tokens, WIDTH)).astype(np.float32))


def test_a_passage_is_looked_at_once() -> None:
    embedder = Counting()
    cached = CachedTokenVectors(embedder, 10 * ONE)
    first = cached.token_vectors(["a", "b", "a"], query=False)
    again = cached.token_vectors(["b", "c", "a"], query=False)
    assert embedder.made == ["a", "b", "c"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[0], again[2])
    assert np.array_equal(first[1], again[0])


def test_what_is_kept_has_the_cosines_of_what_was_made() -> None:
    embedder = Counting()
    cached = CachedTokenVectors(embedder, 10 * ONE)
    asked = embedder.vectors("question")
    kept = cached.token_vectors(["a"], query=False)[0]
    assert kept.dtype == np.float32
    assert asked @ kept.T == pytest.approx(asked @ embedder.vectors("a").T, abs=0.01)


def test_a_question_is_kept_apart_from_a_passage_of_the_same_words() -> None:
    embedder = Counting()
    cached = CachedTokenVectors(embedder, 10 * ONE)
    for query in (True, False, True, False):
        cached.token_vectors(["a"], query=query)
    assert embedder.made == ["a", "a"]
    assert cached.nbytes == 2 * ONE


def test_the_least_recently_used_goes_first_and_the_size_holds() -> None:
    embedder = Counting()
    cached = CachedTokenVectors(embedder, 2 * ONE)
    cached.token_vectors(["a", "b"], query=False)
    cached.token_vectors(["a"], query=False)
    cached.token_vectors(["c"], query=False)
    assert cached.nbytes == 2 * ONE
    cached.token_vectors(["a", "c"], query=False)
    assert embedder.made == ["a", "b", "c"]
    cached.token_vectors(["b"], query=False)
    assert embedder.made == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    embedder = Counting(tokens=30)
    cached = CachedTokenVectors(embedder, 2 * ONE)
    assert len(cached.token_vectors(["a"], query=False)[0]) == 30
    assert cached.nbytes == 0


def test_a_text_without_tokens_has_no_vectors() -> None:
    cached = CachedTokenVectors(Counting(tokens=0), 2 * ONE)
    assert cached.token_vectors(["", ""], query=False)[1].shape == (0, WIDTH)
