"""Questions to stores: which indexes, models and settings answer them, and what their hits are called outside."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from retrieval.embedding import Embedder
from retrieval.errors import EmbedderUnavailable, IndexMismatch, KnowledgeServerError, VectorStoreNotFound
from retrieval.filters import Filter, parse_filter
from retrieval.fusion import FusionMethod
from retrieval.indexes.protocol import IndexStore, PassageIndex
from retrieval.rerank import Reranker
from retrieval.retriever import DENSE, LEXICAL, Hit, RetrievalOptions, Retrieved, Retriever
from retrieval.selection import DocumentTable
from serving.config import KnowledgeSettings
from serving.knowledge.joining import joined
from serving.knowledge.models import Models
from serving.knowledge.protocol import ArmEntry, FoundPassage, SearchRequest, SearchResult
from serving.knowledge.recipes import Recipe
from serving.knowledge.types import DocumentRecord, StoreRecord
from serving.knowledge.views import StoreView, Views


class OpenIndexes(Protocol):
    """Gives the store of indexes, once it can be reached."""

    def __call__(self) -> IndexStore:
        """Raises IndexUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What one store brought."""

    passages: tuple[FoundPassage, ...]
    superseded: tuple[FoundPassage, ...]
    expired: int
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    arms: Mapping[str, tuple[ArmEntry, ...]] = field(default_factory=dict)


class Searcher:
    """Searches stores. Blocking, thread-safe."""

    def __init__(
        self,
        settings: KnowledgeSettings,
        views: Views,
        models: Models,
        indexes: OpenIndexes,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._views = views
        self._models = models
        self._indexes = indexes
        self._now = now

    def search(self, request: SearchRequest) -> SearchResult:
        """See KnowledgeClient."""
        condition = None if request.filters is None else parse_filter(request.filters)
        views = [self._visible(name, request) for name in dict.fromkeys(request.stores)]
        found = [self._search(view, request, condition) for view in views]
        seconds: dict[str, float] = {}
        for stage, value in chain.from_iterable(one.seconds.items() for one in found):
            seconds[stage] = seconds.get(stage, 0.0) + value
        return SearchResult(
            tuple(joined([one.passages for one in found])[: request.k]),
            tuple(chain.from_iterable(one.superseded for one in found)),
            sum(one.expired for one in found),
            seconds,
            tuple(dict.fromkeys(chain.from_iterable(one.notes for one in found))),
            found[0].arms if len(found) == 1 else {},
        )

    def _visible(self, name: str, request: SearchRequest) -> StoreView:
        view = self._views.find(name, request.access)
        if view is None:
            raise VectorStoreNotFound(f"There is no vector store `{name}`.")
        self._views.touch(view.record.id)
        return view

    def _search(self, view: StoreView, request: SearchRequest, condition: Filter | None) -> _Found:
        record, table, documents = view.seen()
        now = int(self._now())
        expired = table.expired(request.access, now, condition)
        index = None if record.index_name is None else self._indexes().open(record.index_name)
        if index is None or not len(table):
            return _Found((), (), expired, {}, ())
        retrieved, notes = self._retrieve(index, record, table, request, condition, now)

        def named(hit: Hit) -> FoundPassage:
            return _named(hit, record, documents)

        return _Found(
            tuple(map(named, retrieved.hits)),
            tuple(map(named, retrieved.superseded)),
            expired,
            retrieved.seconds,
            (*notes, *retrieved.notes),
            _arms(retrieved, table, documents, request, condition, now) if request.explain else {},
        )

    def _retrieve(
        self,
        index: PassageIndex,
        record: StoreRecord,
        table: DocumentTable,
        request: SearchRequest,
        condition: Filter | None,
        now: int,
    ) -> tuple[Retrieved, tuple[str, ...]]:
        options = self._options(record, request)
        reranker, notes = self._reranker()

        def ask(embedder: Embedder | None) -> Retrieved:
            retriever = Retriever(index, lambda: table, embedder, options, reranker)
            return retriever.retrieve(request.query, request.k, request.access, now, condition)

        try:
            return ask(self._embedder(index, record)), notes
        except (EmbedderUnavailable, IndexMismatch) as error:
            if not self._indexes().capabilities.lexical:
                raise
            return ask(None), (*notes, f"searched by words alone: {error}")

    def _embedder(self, index: PassageIndex, record: StoreRecord) -> Embedder:
        """The model that made the index, which may be another than the configured one until it is made anew."""
        made_with = None if record.recipe is None else Recipe.read(record.recipe).embedder
        embedder = self._models.embedder(made_with)
        if embedder.fingerprint != index.spec.embedder:
            raise IndexMismatch(f"the vector store `{record.name}` was made by another embedding model")
        return embedder

    def _reranker(self) -> tuple[Reranker | None, tuple[str, ...]]:
        try:
            return self._models.reranker(), ()
        except KnowledgeServerError as error:
            return None, (f"not reranked: {error}",)

    def _options(self, record: StoreRecord, request: SearchRequest) -> RetrievalOptions:
        base = self._settings.bases.get(record.name) if record.configured else None
        search = self._settings.search if base is None else base.search
        options = RetrievalOptions(
            candidates=max(search.candidates, request.k),
            fusion=FusionMethod(search.fusion),
            weights={DENSE: search.dense_weight, LEXICAL: search.lexical_weight},
            rerank_top=self._settings.reranker.top,
            rerank_weight=self._settings.reranker.part,
            min_score=search.min_score,
        )
        return options if request.min_score is None else replace(options, min_score=request.min_score)


def _arms(
    retrieved: Retrieved,
    table: DocumentTable,
    documents: Mapping[int, DocumentRecord],
    request: SearchRequest,
    condition: Filter | None,
    now: int,
) -> dict[str, tuple[ArmEntry, ...]]:
    return {
        name: tuple(
            ArmEntry(documents[match.passage.document].file_id, match.passage.number, match.score)
            for match in matches
            if table.admits(match.passage.document, request.access, now, condition)
        )
        for name, matches in retrieved.arms.items()
    }


def _named(hit: Hit, record: StoreRecord, documents: Mapping[int, DocumentRecord]) -> FoundPassage:
    document = documents[hit.passage.document]
    by = hit.superseded_by
    return FoundPassage(
        store_id=record.id,
        file_id=document.file_id,
        filename=document.filename,
        title=hit.meta.title,
        source=hit.meta.source,
        version=hit.meta.version,
        number=hit.passage.number,
        text=hit.passage.text,
        context=hit.passage.context,
        score=min(max(hit.score, 0.0), 1.0),
        similarity=hit.similarity,
        scores=dict(hit.scores),
        attributes=dict(hit.meta.attributes),
        changed_at=int(document.accepted_at),
        superseded_by=None if by is None else documents[by.document].file_id,
    )
