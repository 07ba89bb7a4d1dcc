"""``retrieval --part latency``: how long each stage takes, by the number of passages and by what a caller may see."""

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
import psutil
from pymilvus import MilvusClient

from benchmarks.fleet import say
from benchmarks.report import Target
from benchmarks.stats import quantiles_ms
from retrieval.embedding import Embedder, SentenceTransformersEmbedder, normalised
from retrieval.filters import Filter, parse_filter
from retrieval.indexes.milvus import MilvusIndexStore, open_milvus
from retrieval.indexes.protocol import IndexSpec, IndexStore, PassageIndex
from retrieval.rerank import LateInteractionReranker
from retrieval.retriever import Retrieved, Retriever
from retrieval.selection import DocumentTable
from retrieval.token_cache import CachedTokenVectors
from retrieval.types import Access, DocumentMeta, Passage, Vectors
from serving.settings.knowledge import RerankerSettings

PASSAGES_EACH = 10
BATCH = 2_000
WORDS_EACH = 60
VOCABULARY = 30_000
TOPICS = 500
INDEX_S = 300.0
RERANKED_QUESTIONS = 30
COLLECTION = "loraplex_bench"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a caller may see, and asks for."""

    name: str
    access: Access
    condition: Filter | None = None


SCENARIOS = (
    Scenario("everything", Access(everything=True)),
    Scenario("half by labels", Access(frozenset({"half"}))),
    Scenario("1 % by a filter", Access(everything=True), parse_filter({"type": "eq", "key": "group", "value": 7})),
)


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Fill an index of each size, ask it questions in every scenario."""
    embedder = SentenceTransformersEmbedder(str(options.embedder))
    results: dict[str, Any] = {}
    targets: list[Target] = []
    for size in options.sizes if not options.quick else (1_000,):
        with tempfile.TemporaryDirectory() as folder:
            uri = options.milvus or str(Path(folder) / "lite.db")
            store = open_milvus(uri)
            say(f"{store.capabilities.description}: {size} passages")
            try:
                cell = _Cell(store, size, embedder).run(20 if options.quick else options.questions)
                store.close()
                began = perf_counter()
                store = open_milvus(uri)
                store.open("bench")
                cell["opened_again_s"] = round(perf_counter() - began, 2)
            finally:
                store.drop("bench")
                store.close()
        results[f"{size} passages"] = cell
        if size == 100_000:
            targets += _targets(cell, server=options.milvus is not None)
    reranking = _reranking(embedder, 5 if options.quick else RERANKED_QUESTIONS)
    return {"store": options.milvus or "lite", **results, "late interaction": reranking}, targets, []


def _reranking(embedder: SentenceTransformersEmbedder, questions: int) -> dict[str, Any]:
    """What a second look takes when it sees the passages for the first time, and when it has seen them."""
    words, top = random.Random(0), RerankerSettings().top
    reranker = LateInteractionReranker(CachedTokenVectors(embedder, RerankerSettings().cache_bytes))
    asked = [(_text(words, 8), [_text(words, WORDS_EACH) for _ in range(top)]) for _ in range(questions)]
    times: dict[str, list[float]] = {"new passages": [], "known passages": []}
    for name in times:
        for question, texts in asked:
            began = perf_counter()
            reranker.score(question, texts)
            times[name].append(perf_counter() - began)
    tokens = mean(embedder.count_tokens([text for _, texts in asked for text in texts]))
    return {"passages": top, "tokens of a passage": round(tokens)} | {
        name: quantiles_ms(taken) for name, taken in times.items()
    }


class _Cell:
    """One store and one size."""

    def __init__(self, store: IndexStore, size: int, embedder: Embedder) -> None:
        self._store = store
        self._size = size
        self._embedder = embedder
        self._draw = np.random.default_rng(size)
        self._topics = normalised(self._draw.normal(size=(TOPICS, embedder.dimension)).astype(np.float32))
        self._index: PassageIndex = store.create("bench", IndexSpec(embedder.dimension, "synthetic"))
        self._words = random.Random(size)
        documents = size // PASSAGES_EACH
        self._table = DocumentTable(
            {
                number: DocumentMeta(
                    f"d{number}",
                    labels=frozenset({"half" if number % 2 else "other"}),
                    attributes={"group": float(number % 100)},
                )
                for number in range(documents)
            }
        )

    def run(self, questions: int) -> dict[str, Any]:
        """Fill, then ask."""
        began = perf_counter()
        for passages, vectors in self._batches():
            self._index.add(passages, vectors)
        filled_s = perf_counter() - began
        _until_indexed(self._store)
        asked = {scenario.name: self._ask(scenario, questions) for scenario in SCENARIOS}
        if isinstance(self._store, MilvusIndexStore):
            asked["the server alone, 10 keys, unfiltered"] = self._ask_server(self._store, questions)
        return {
            "passages_per_s": round(self._size / filled_s),
            "memory_mib": psutil.Process().memory_info().rss // 2**20,
            **asked,
        }

    def _batches(self) -> Iterator[tuple[list[Passage], Vectors]]:
        for start in range(0, self._size, BATCH):
            count = min(BATCH, self._size - start)
            passages = [
                Passage((start + one) // PASSAGES_EACH, (start + one) % PASSAGES_EACH, _text(self._words, WORDS_EACH))
                for one in range(count)
            ]
            yield passages, self._vectors(count)

    def _vectors(self, count: int) -> Vectors:
        """Points around topics, as embeddings of texts are."""
        near = self._topics[self._draw.integers(0, TOPICS, count)]
        return normalised(
            near + self._draw.normal(scale=0.6 / np.sqrt(near.shape[1]), size=near.shape).astype(np.float32)
        )

    def _ask_server(self, store: MilvusIndexStore, questions: int) -> dict[str, Any]:
        """What Milvus and its client take by themselves, after the same work before it."""
        times: list[float] = []
        params = {"metric_type": "COSINE", "params": {"ef": 64}}
        for _ in range(questions):
            data = self._embedder.embed_queries([_text(self._words, 8)])[:1].tolist()
            began = perf_counter()
            store.call(
                partial(MilvusClient.search, collection_name=COLLECTION, data=data, limit=10, search_params=params)
            )
            times.append(perf_counter() - began)
        return {"dense": quantiles_ms(times)}

    def _ask(self, scenario: Scenario, questions: int) -> dict[str, Any]:
        retriever = Retriever(self._index, lambda: self._table, self._embedder)
        laps: list[Retrieved] = []
        total: list[float] = []
        for number in range(questions + 3):
            question = _text(self._words, 8)
            began = perf_counter()
            found = retriever.retrieve(question, 10, scenario.access, 1, scenario.condition)
            if number >= 3:
                total.append(perf_counter() - began)
                laps.append(found)
        fewest = min(len(one.hits) for one in laps)
        return {"total": quantiles_ms(total), **_by_stage(laps), "fewest_hits": fewest}


def _text(draw: random.Random, words: int) -> str:
    """Words with Zipf's frequencies."""
    return " ".join(f"w{min(int(draw.paretovariate(0.7)), VOCABULARY)}" for _ in range(words))


def _until_indexed(store: IndexStore) -> None:
    """Let a server build its index first: what is measured is how it answers, not how it builds."""
    if not isinstance(store, MilvusIndexStore):
        return
    store.call(lambda client: client.flush(COLLECTION))
    deadline = monotonic() + INDEX_S
    while int(store.call(lambda client: client.describe_index(COLLECTION, "vector"))["pending_index_rows"]):
        if monotonic() > deadline:
            raise TimeoutError("the server did not index its rows")
        sleep(0.5)


def _by_stage(laps: Sequence[Retrieved]) -> dict[str, dict[str, float]]:
    return {stage: quantiles_ms([one.seconds[stage] for one in laps]) for stage in laps[0].seconds}


def _targets(cell: dict[str, Any], *, server: bool) -> list[Target]:
    filtered = cell["half by labels"]
    if server:
        return [
            Target("100k, server, filtered: dense p50, ms", filtered["dense"]["p50"], 5, at_least=False),
            Target("100k, server, filtered: dense p99, ms", filtered["dense"]["p99"], 20, at_least=False),
        ]
    both = filtered["dense"]["p50"] + filtered["lexical"]["p50"]
    return [Target("100k, Lite, filtered: both arms p50, ms", both, 60, at_least=False)]
