"""From a question to hits: every stage in its order."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerUnavailable
from retrieval.filters import matches, parse_filter
from retrieval.indexes.memory import MemoryIndex
from retrieval.indexes.protocol import IndexSpec
from retrieval.retriever import DENSE, FUSED, LEXICAL, RERANKED, RetrievalOptions, Retriever
from retrieval.selection import DocumentTable
from retrieval.types import NEVER, Access, DocumentMeta, Passage, is_current
from tests.word_embedder import WordEmbedder

EMBEDDER = WordEmbedder()
EVERYTHING = Access(everything=True)
TEXTS = [
    "The Vault plan costs 45 EUR a month",
    "Backups are kept for thirty days",
    "The Locker plan is free of charge",
    "Support answers within a day",
]


def indexed(texts: Sequence[str]) -> MemoryIndex:
    index = MemoryIndex(IndexSpec(EMBEDDER.dimension, EMBEDDER.fingerprint))
    index.add([Passage(number, 0, text) for number, text in enumerate(texts)], EMBEDDER.embed_documents(texts))
    return index


def retriever(texts: Sequence[str] = TEXTS, metas: dict[int, DocumentMeta] | None = None, **how: Any) -> Retriever:
    table = DocumentTable(metas or {number: DocumentMeta(f"d{number}") for number in range(len(texts))})
    return Retriever(indexed(texts), lambda: table, EMBEDDER, **how)


class Backwards:
    """Likes the longest text best."""

    name = "backwards"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]


class Broken:
    """Never answers."""

    name = "broken"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        raise RerankerUnavailable("no answer")


def test_the_best_passage_comes_first_with_the_score_of_every_stage() -> None:
    found = retriever().retrieve("what does the vault plan cost", 2, EVERYTHING, 0)
    assert [hit.meta.document for hit in found.hits] == ["d0", "d2"]
    assert found.hits[0].scores.keys() == {DENSE, LEXICAL, FUSED}
    assert {"select", "embed", DENSE, LEXICAL, "fuse", "rerank", "refine"} == found.seconds.keys()


def test_an_arm_of_weight_zero_is_not_searched() -> None:
    options = RetrievalOptions(weights={DENSE: 1.0, LEXICAL: 0.0})
    found = retriever(options=options).retrieve("vault plan", 4, EVERYTHING, 0)
    assert LEXICAL not in found.seconds
    assert all(LEXICAL not in hit.scores for hit in found.hits)


def test_a_reranker_decides_the_order_of_the_first() -> None:
    found = retriever(reranker=Backwards()).retrieve("plan", 4, EVERYTHING, 0)
    lengths = [len(hit.passage.text) for hit in found.hits]
    assert lengths == sorted(lengths, reverse=True)
    assert RERANKED in found.hits[0].scores


def test_a_reranker_without_weight_changes_nothing_but_is_shown() -> None:
    plain = retriever().retrieve("vault plan", 4, EVERYTHING, 0)
    options = RetrievalOptions(rerank_weight=0)
    shown = retriever(reranker=Backwards(), options=options).retrieve("vault plan", 4, EVERYTHING, 0)
    assert [hit.passage for hit in shown.hits] == [hit.passage for hit in plain.hits]


def test_a_reranker_that_fails_is_left_out_and_noted() -> None:
    found = retriever(reranker=Broken()).retrieve("vault plan", 2, EVERYTHING, 0)
    assert found.hits[0].meta.document == "d0"
    assert found.notes == ("not reranked: no answer",)


def test_what_is_below_the_floor_is_not_relevant() -> None:
    options = RetrievalOptions(min_score=0.3)
    assert retriever(options=options).retrieve("zebra crossing", 4, EVERYTHING, 0).hits == ()
    assert retriever(options=options).retrieve("vault plan costs", 4, EVERYTHING, 0).hits


def test_a_later_version_replaces_the_earlier_one_and_says_so() -> None:
    texts = ["The Vault plan costs 40 EUR a month", "The Vault plan costs 45 EUR a month"]
    metas = {
        0: DocumentMeta("old", title="Prices", effective_at=10),
        1: DocumentMeta("new", title="Prices", effective_at=20),
    }
    found = retriever(texts, metas).retrieve("vault 40 EUR", 5, EVERYTHING, 30)
    assert [hit.meta.document for hit in found.hits] == ["new"]
    assert [(hit.meta.document, hit.superseded_by) for hit in found.superseded] == [("old", found.hits[0].passage)]
    before = retriever(texts, metas).retrieve("vault 40 EUR", 5, EVERYTHING, 15)
    assert [hit.meta.document for hit in before.hits] == ["old"]


def test_where_nothing_may_be_seen_nothing_is_searched() -> None:
    metas = {number: DocumentMeta(f"d{number}", labels=frozenset({"hr"})) for number in range(4)}
    found = retriever(metas=metas).retrieve("vault plan", 4, Access(frozenset({"it"})), 0)
    assert found.hits == ()
    assert "embed" not in found.seconds


WORDS = ["vault", "plan", "costs", "free", "backup", "day"]
metas_of = st.builds(
    DocumentMeta,
    document=st.just("d"),
    effective_at=st.integers(0, 6),
    expires_at=st.integers(4, 9) | st.just(NEVER),
    labels=st.frozensets(st.sampled_from(["hr", "it", "it' or 1 == 1"])),
    attributes=st.dictionaries(st.sampled_from(["a", 'b"]']), st.integers(0, 2).map(float)),
)


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), metas_of), max_size=10),
    st.frozensets(st.sampled_from(["hr", "it", "", "*"])),
    st.sampled_from(WORDS),
    st.none() | st.tuples(st.sampled_from(["eq", "ne"]), st.sampled_from(["a", 'b"]']), st.integers(0, 2)),
)
def test_nobody_gets_what_is_not_his(
    documents: list[tuple[list[str], DocumentMeta]],
    labels: frozenset[str],
    query: str,
    condition: tuple[str, str, int] | None,
) -> None:
    metas = {number: meta for number, (_, meta) in enumerate(documents)}
    parsed = condition and parse_filter(dict(zip(("type", "key", "value"), condition, strict=True)))
    access = Access(labels)
    texts = [" ".join(words) for words, _ in documents]
    options = RetrievalOptions(duplicate_threshold=1.1, conflict_threshold=1.1)
    found = retriever(texts, metas, options=options).retrieve(query, 50, access, 5, parsed)
    visible = {
        number
        for number, meta in metas.items()
        if access.allows(meta.labels) and is_current(meta, 5) and matches(parsed, meta.attributes)
    }
    assert {hit.passage.document for hit in found.hits} == visible


@pytest.mark.parametrize("k", [1, 3])
def test_no_more_than_k_hits_are_returned(k: int) -> None:
    assert len(retriever().retrieve("the plan is a day", k, EVERYTHING, 0).hits) == k
