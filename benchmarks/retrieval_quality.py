"""``retrieval --part quality``: every arm beside the others on judged sets, with a reference from outside."""

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fleet import say
from benchmarks.report import Target
from benchmarks.retrieval_sets import JudgedSet, codebase, cranfield
from retrieval.embedding import SentenceTransformersEmbedder
from retrieval.fusion import FusionMethod, fuse
from retrieval.indexes.milvus import open_milvus
from retrieval.indexes.protocol import IndexSpec, IndexStore, PassageIndex
from retrieval.ingest import limits_for, make_edition
from retrieval.ir_metrics import Measure, Qrels, mean_over
from retrieval.rerank import LateInteractionReranker
from retrieval.retriever import DENSE, LEXICAL, RetrievalOptions, Retriever
from retrieval.selection import DocumentTable
from retrieval.token_cache import CachedTokenVectors
from retrieval.tuning import ArmLists, split, tune_fusion
from retrieval.types import Access, DocumentMeta, Match
from serving.settings.knowledge import RerankerSettings

MEASURES = {
    "codebase_rag": ("recall@5", "recall@10", "recall@20"),
    "cranfield": ("ndcg@10", "recall@100"),
}
DEPTH = 100
_TOKENS_BYTES = 4 * 1024**3
EVERYTHING = Access(everything=True)

Lists = dict[str, dict[str, list[tuple[str, float]]]]
"""Question → arm → (document, score), the best first."""


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Target], list[str]]:
    """Index both sets in Milvus Lite, ask every question, value every arm."""
    embedder = SentenceTransformersEmbedder(str(options.embedder))
    results, targets = {}, []
    for load in (codebase, cranfield):
        name = load.__name__ if load is cranfield else "codebase_rag"
        judged = load(options.data / name)
        say(f"{name}: {len(judged.documents)} documents, {len(judged.questions)} questions")
        with tempfile.TemporaryDirectory() as folder:
            store = open_milvus(str(Path(folder) / "lite.db"))
            results[name], bars = _Bench(judged, embedder, store, options).run()
            store.close()
        targets += bars
    return results, targets, []


class _Bench:
    """One set."""

    def __init__(
        self,
        judged: JudgedSet,
        embedder: SentenceTransformersEmbedder,
        store: IndexStore,
        options: argparse.Namespace,
    ) -> None:
        self._judged = judged
        self._embedder = embedder
        self._names = list(judged.documents)
        self._index: PassageIndex = store.create("bench", IndexSpec(embedder.dimension, embedder.fingerprint))
        self._table = DocumentTable({number: DocumentMeta(name) for number, name in enumerate(self._names)})
        self._measures = [Measure(name) for name in MEASURES[judged.name]]
        self._reranker = LateInteractionReranker(CachedTokenVectors(embedder, _TOKENS_BYTES))
        self._without_reranking: bool = options.without_reranking
        self._questions = dict(list(judged.questions.items())[: 24 if options.quick else None])

    def run(self) -> tuple[dict[str, Any], list[Target]]:
        """Everything that is reported on the set."""
        self._fill()
        lists: Lists = {question: self._arms(text) for question, text in self._questions.items()}
        say("asked both arms; reranking")
        tuned = tune_fusion(_two(lists), self._qrels(), self._measures[0])
        runs = {
            "bm25s (reference)": self._reference(),
            LEXICAL: _alone(lists, LEXICAL),
            DENSE: _alone(lists, DENSE),
            "fused, equal weights": _fused(lists, FusionMethod.MIN_MAX, {DENSE: 0.5, LEXICAL: 0.5}),
            "fused, RRF": _fused(lists, FusionMethod.RRF, {}),
            "fused, tuned on the other half": _fused(lists, tuned.method, tuned.weights),
            "the defaults without the reranker": self._retrieved(RetrievalOptions(), rerank=False),
        }
        if not self._without_reranking:
            runs["defaults"] = self._retrieved(RetrievalOptions(rerank_weight=RerankerSettings().part), rerank=True)
            for weight in (0.25, 1.0):
                how = RetrievalOptions(rerank_weight=weight)
                runs[f"late interaction, weight {weight}"] = self._retrieved(how, rerank=True)
        every = self._qrels()
        kept_back = {one: every[one] for one in split(every)[1]}
        values = {name: self._values(run, every) for name, run in runs.items()}
        report = {
            "passages": self._index.count(),
            "tuned": {"method": tuned.method, "weights": dict(tuned.weights), "on": tuned.tuned_on},
            "all questions": values,
            "questions kept back": {name: self._values(run, kept_back) for name, run in runs.items()},
        }
        return report, self._targets(values)

    def _fill(self) -> None:
        limits = limits_for(self._embedder)
        editions = (
            make_edition(number, parsed, limits, self._embedder)
            for number, parsed in enumerate(self._judged.documents.values())
        )
        for edition in editions:
            self._index.add(edition.passages, edition.vectors)

    def _arms(self, text: str) -> dict[str, list[tuple[str, float]]]:
        selection = self._table.select(EVERYTHING, 0)
        vector = self._embedder.embed_queries([text])[0]
        return {
            DENSE: self._documents(self._index.search_dense(vector, DEPTH, selection)),
            LEXICAL: self._documents(self._index.search_lexical(text, DEPTH, selection)),
        }

    def _documents(self, matches: Sequence[Match]) -> list[tuple[str, float]]:
        """The best passage speaks for its document."""
        best: dict[str, float] = {}
        for match in matches:
            best.setdefault(self._names[match.passage.document], match.score)
        return list(best.items())

    def _retrieved(self, how: RetrievalOptions, *, rerank: bool) -> dict[str, list[str]]:
        retriever = Retriever(
            self._index,
            lambda: self._table,
            self._embedder,
            how,
            self._reranker if rerank else None,
        )
        return {
            question: _unique(hit.meta.document for hit in retriever.retrieve(text, DEPTH, EVERYTHING, 0).hits)
            for question, text in self._questions.items()
        }

    def _reference(self) -> dict[str, list[str]]:
        import bm25s

        texts = [
            "\n".join([parsed.title, *(block.text for block in parsed.blocks)])
            for parsed in self._judged.documents.values()
        ]
        model = bm25s.BM25(k1=1.2, b=0.75)
        model.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
        asked = bm25s.tokenize(list(self._questions.values()), stopwords=None, show_progress=False)
        found, _ = model.retrieve(asked, k=min(DEPTH, len(texts)), show_progress=False)
        return {
            question: [self._names[place] for place in row]
            for question, row in zip(self._questions, found, strict=True)
        }

    def _qrels(self) -> Qrels:
        return {question: self._judged.qrels[question] for question in self._questions}

    def _values(self, run: Mapping[str, Sequence[str]], qrels: Qrels) -> dict[str, float]:
        return {measure.name: round(mean_over(qrels, run, measure), 4) for measure in self._measures}

    def _targets(self, values: Mapping[str, Mapping[str, float]]) -> list[Target]:
        return [
            Target(
                f"{self._judged.name}: {name} of the defaults against the best single arm",
                values.get("defaults", values["the defaults without the reranker"])[name],
                max(values[arm][name] for arm in (DENSE, LEXICAL)),
                at_least=True,
            )
            for name in (measure.name for measure in self._measures)
        ]


def _two(lists: Lists) -> dict[str, ArmLists]:
    return {question: {arm: arms[arm] for arm in (DENSE, LEXICAL)} for question, arms in lists.items()}


def _alone(lists: Lists, arm: str) -> dict[str, list[str]]:
    return {question: [document for document, _ in arms[arm]] for question, arms in lists.items()}


def _fused(lists: Lists, method: FusionMethod, weights: Mapping[str, float]) -> dict[str, list[str]]:
    return {question: [document for document, _ in fuse(method, arms, weights)] for question, arms in lists.items()}


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
