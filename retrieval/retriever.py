"""``Retriever``: a question to the passages that answer it, for one caller and one moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from retrieval.embedding import Embedder
from retrieval.errors import RerankerUnavailable
from retrieval.filters import Filter
from retrieval.fusion import FusionMethod, fuse
from retrieval.indexes.protocol import PassageIndex
from retrieval.refine import split_superseded, without_near_duplicates
from retrieval.rerank import Reranker
from retrieval.selection import DocumentTable, Selection
from retrieval.types import Access, DocumentMeta, Match, Passage

DENSE, LEXICAL, FUSED, RERANKED = "dense", "lexical", "fused", "reranked"


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How a knowledge base is searched."""

    candidates: int = 100
    """Passages that each arm brings."""
    fusion: FusionMethod = FusionMethod.MIN_MAX
    weights: Mapping[str, float] = field(default_factory=lambda: {DENSE: 0.6, LEXICAL: 0.4})
    """By arm; an arm of weight 0 is not searched."""
    rerank_top: int = 20
    """How many of the fused passages the reranker reads."""
    rerank_weight: float = 1.0
    """The reranker's part in the final order; the rest is the fused score's. 1: the reranker alone."""
    duplicate_threshold: float = 0.9
    """See :func:`retrieval.refine.without_near_duplicates`."""
    conflict_threshold: float = 0.5
    """See :func:`retrieval.refine.split_superseded`."""
    min_score: float | None = None
    """Hits whose cosine is below it are not relevant; None keeps all."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that the retriever returns, with what every stage made of it."""

    passage: Passage
    meta: DocumentMeta
    score: float
    """What the list is ordered by, in [0, 1] within one list."""
    scores: Mapping[str, float]
    """By stage: ``dense``, ``lexical``, ``fused``, ``reranked``; a stage that did not see the passage is absent."""
    similarity: float
    """Cosine with the question. What words alone found is at most as near as the farthest that vectors found, whose
    cosine it gets; 1 where vectors were not searched."""
    superseded_by: Passage | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The answer to one question."""

    hits: tuple[Hit, ...]
    superseded: tuple[Hit, ...]
    """What would have been a hit, had a later version not replaced it."""
    seconds: Mapping[str, float]
    """How long each stage took."""
    notes: tuple[str, ...] = ()
    """What was left out, and why: for the operator."""
    arms: Mapping[str, Sequence[Match]] = field(default_factory=dict)
    """What each arm brought, best first, out of the passages that the caller may see."""


class Retriever:
    """Searches one knowledge base. Thread-safe; documents may change while it searches.

    Args:
        documents: gives the present table of documents; asked once for each question.
        embedder: None where there is none for this index now: only words are searched.
    """

    def __init__(
        self,
        index: PassageIndex,
        documents: Callable[[], DocumentTable],
        embedder: Embedder | None,
        options: RetrievalOptions | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._index = index
        self._documents = documents
        self._embedder = embedder
        self._options = options or RetrievalOptions()
        self._reranker = reranker

    def retrieve(self, query: str, k: int, access: Access, now: int, condition: Filter | None = None) -> Retrieved:
        """The best ``k`` passages that the caller may see, that hold at ``now`` and satisfy the filter.

        Raises:
            EmbedderUnavailable, IndexUnavailable: the search itself failed. A reranker that fails is left out, which
                is noted.
        """
        watch, options = _Watch(), self._options
        table = self._documents()
        selection = table.select(access, now, condition)
        watch.lap("select")
        arms = self._search(query, selection, watch) if len(selection.allowed) else {}
        found = _Found.of(arms, options)
        watch.lap("fuse")
        notes = self._rerank(query, found)
        watch.lap("rerank")
        kept = without_near_duplicates(found.ordered[: max(4 * k, options.rerank_top)], options.duplicate_threshold)
        holding, replaced = split_superseded(kept, table.__getitem__, options.conflict_threshold)
        leaving = (one for one in holding if table.admits(one.passage.document, access, now, condition))
        hits = [hit for hit in (found.hit(one, table) for one in leaving) if self._relevant(hit)][:k]
        older = [replace(found.hit(one.match, table), superseded_by=one.by) for one in replaced]
        watch.lap("refine")
        return Retrieved(tuple(hits), tuple(older[:k]), watch.seconds, notes, arms)

    def _search(self, query: str, selection: Selection, watch: "_Watch") -> dict[str, list[Match]]:
        options, arms = self._options, {}
        if options.weights.get(DENSE, 1.0) > 0 and self._embedder is not None:
            vector = self._embedder.embed_queries([query])[0]
            watch.lap("embed")
            arms[DENSE] = self._index.search_dense(vector, options.candidates, selection)
            watch.lap(DENSE)
        if options.weights.get(LEXICAL, 1.0) > 0:
            arms[LEXICAL] = self._index.search_lexical(query, options.candidates, selection)
            watch.lap(LEXICAL)
        return arms

    def _rerank(self, query: str, found: "_Found") -> tuple[str, ...]:
        """Reorder the first of what was found; gives what went wrong."""
        top = found.ordered[: self._options.rerank_top]
        if self._reranker is None or not top:
            return ()
        try:
            scores = self._reranker.score(query, [match.passage.searchable for match in top])
        except RerankerUnavailable as error:
            return (f"not reranked: {error}",)
        found.reorder(top, scores, self._options.rerank_weight)
        return ()

    def _relevant(self, hit: Hit) -> bool:
        return self._options.min_score is None or hit.similarity >= self._options.min_score


class _Found:
    """What the arms brought, joined, with the score of every stage."""

    def __init__(self, ordered: list[Match], stages: dict[str, dict[int, float]]) -> None:
        self.ordered = ordered
        self._stages = stages

    @classmethod
    def of(cls, arms: Mapping[str, Sequence[Match]], options: RetrievalOptions) -> "_Found":
        passages = {match.passage.key: match.passage for matches in arms.values() for match in matches}
        scored = {name: [(one.passage.key, one.score) for one in matches] for name, matches in arms.items()}
        fused = fuse(options.fusion, scored, options.weights)
        stages = {name: dict(pairs) for name, pairs in scored.items()}
        return cls([Match(passages[key], score) for key, score in fused], {**stages, FUSED: dict(fused)})

    def reorder(self, top: Sequence[Match], scores: Sequence[float], weight: float) -> None:
        """Put ``top`` in the order of the reranker's scores, stretched to [0, 1] and mixed with the fused ones."""
        keys = [match.passage.key for match in top]
        self._stages[RERANKED] = dict(zip(keys, scores, strict=True))
        mixed = fuse(
            FusionMethod.MIN_MAX,
            {RERANKED: list(zip(keys, scores, strict=True)), FUSED: [(one.passage.key, one.score) for one in top]},
            {RERANKED: weight, FUSED: 1 - weight},
        )
        passages = {match.passage.key: match.passage for match in top}
        rest = self.ordered[len(top) :]
        self.ordered = [Match(passages[key], score) for key, score in mixed] + [Match(one.passage, 0.0) for one in rest]

    def hit(self, match: Match, table: DocumentTable) -> Hit:
        key = match.passage.key
        scores = {name: found[key] for name, found in self._stages.items() if key in found}
        farthest = min(self._stages.get(DENSE, {}).values(), default=1.0)
        similarity = scores.get(DENSE, farthest)
        return Hit(match.passage, table[match.passage.document], match.score, scores, similarity)


class _Watch:
    """Seconds between laps, by the name of the lap that ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now
