"""The mirror finds what the reference finds, whatever was added, replaced and removed before."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.indexes import mirror
from retrieval.indexes.memory import MemoryIndex
from retrieval.indexes.mirror import Mirror
from retrieval.indexes.protocol import IndexSpec
from retrieval.selection import Selection
from retrieval.types import Match, Passage, Vectors

DIMENSION = 4
WORDS = ["fox", "dog", "cat", "the", "a", "sleeps"]


@dataclass(frozen=True)
class Addition:
    """One call of ``put``."""

    passages: list[Passage]
    seed: int


@dataclass(frozen=True)
class Removal:
    """One call of ``remove``."""

    documents: list[int]


texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
stored = st.builds(Passage, st.integers(0, 6), st.integers(0, 3), texts, st.sampled_from(["", "dog"]))
steps = st.lists(
    st.one_of(
        st.builds(Addition, st.lists(stored, max_size=8, unique_by=lambda one: one.key), st.integers(0, 99)),
        st.builds(Removal, st.lists(st.integers(0, 6), max_size=3)),
    ),
    max_size=12,
)


def vectors(count: int, seed: int) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    normal: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return normal


def selection(allowed: set[int]) -> Selection:
    return Selection(np.array(sorted(allowed), dtype=np.int64), np.array([], dtype=np.int64))


def agree(found: list[Match], reference: list[Match], k: int) -> None:
    """The same scores; passages whose scores differ only by rounding may change places."""
    assert [match.score for match in found] == pytest.approx([match.score for match in reference[:k]], abs=1e-4)
    by_passage = {match.passage: match.score for match in reference}
    assert [match.score for match in found] == pytest.approx([by_passage[match.passage] for match in found], abs=1e-4)


@given(steps, st.sets(st.integers(0, 8)), st.integers(1, 12), texts)
def test_it_finds_what_the_reference_finds(
    made: list[Addition | Removal], allowed: set[int], k: int, question: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "_FIRST_CAPACITY", 2)  # so that arrays grow and are made anew
        mirrored, reference = Mirror(DIMENSION), MemoryIndex(IndexSpec(DIMENSION, "m"))
        for step in made:
            if isinstance(step, Addition):
                points = vectors(len(step.passages), step.seed)
                mirrored.put(step.passages, points)
                reference.add(step.passages, points)
            else:
                mirrored.remove(step.documents)
                reference.remove(step.documents)
        chosen, point = selection(allowed), vectors(1, 1_000)[0]
        agree(mirrored.search_dense(point, k, chosen), reference.search_dense(point, 99, chosen), k)
        agree(mirrored.search_lexical(question, k, chosen), reference.search_lexical(question, 99, chosen), k)
        assert mirrored.count() == reference.count()
        assert mirrored.documents() == reference.documents()
        assert [mirrored.passages(one) for one in range(7)] == [reference.passages(one) for one in range(7)]


def test_of_equals_those_with_the_smaller_keys_come_first() -> None:
    mirrored = Mirror(DIMENSION)
    passages = [Passage(document, 0, "the same words") for document in range(50, 0, -1)]
    mirrored.put(passages, np.repeat(vectors(1, 0), 50, axis=0))
    for found in (
        mirrored.search_dense(vectors(1, 0)[0], 5, selection(set(range(60)))),
        mirrored.search_lexical("same", 5, selection(set(range(60)))),
    ):
        assert [match.passage.document for match in found] == [1, 2, 3, 4, 5]


def test_searches_go_on_while_passages_come_and_go() -> None:
    mirrored = Mirror(DIMENSION)
    mirrored.put([Passage(0, 0, "the fox")], vectors(1, 0))
    stop, failures = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            dense = mirrored.search_dense(vectors(1, 0)[0], 1, selection({0}))
            lexical = mirrored.search_lexical("fox", 1, selection({0}))
            if len(dense) != 1 or len(lexical) != 1:
                failures.append((dense, lexical))

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for round_ in range(40):
        many = [Passage(1 + round_, number, "a fox and a dog") for number in range(100)]
        mirrored.put(many, vectors(100, round_))
        if round_:
            mirrored.remove([round_])
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert mirrored.count() == 101
