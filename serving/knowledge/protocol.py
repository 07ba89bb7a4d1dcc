"""What generation asks of retrieval, wherever that runs. Plain values: they cross process boundaries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from retrieval.types import Access, AttributeValue
from serving.engine.protocol import JsonObject

RANKERS = ("auto", "default-2024-11-15")
"""OpenAI's names that stand for the gateway's own ranking."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One question, for one caller."""

    stores: tuple[str, ...]
    """Names or ids of vector stores."""
    query: str
    k: int
    access: Access
    filters: JsonObject | None = None
    """In OpenAI's form."""
    min_score: float | None = None
    """Cosine below which a passage is not relevant; None: the store's own setting."""
    explain: bool = False
    """Whether the answer tells what each arm brought."""


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that the caller may see."""

    store_id: str
    file_id: str
    filename: str
    title: str
    source: str
    """Where the document came from: a path, a URL, or the file's name."""
    version: str
    number: int
    """Position of the passage in its document, from 0."""
    text: str
    """The document's own words: what is quoted."""
    context: str
    """Headings above it."""
    score: float
    """What the list is ordered by, in [0, 1]: relative to the others of one store."""
    similarity: float
    """Cosine with the question; for what words alone found, that of the farthest that vectors found. Comparable
    between stores and questions."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """By stage: ``dense`` (cosine), ``lexical`` (BM25), ``fused``, ``reranked``."""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    changed_at: int = 0
    """Unix seconds at which this content was accepted."""
    superseded_by: str | None = None
    """Set for what a later version replaced: that version's file."""

    @property
    def relevance(self) -> float:
        """The similarity within [0, 1]: what OpenAI's API calls the score."""
        return min(max(self.similarity, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class ArmEntry:
    """A passage in the list of one arm."""

    file_id: str
    number: int
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one question."""

    passages: tuple[FoundPassage, ...]
    superseded: tuple[FoundPassage, ...] = ()
    """Would have been among them, had a later version of the same statement not replaced them."""
    expired: int = 0
    """Documents that the caller may see, left out because they have expired."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each stage took."""
    notes: tuple[str, ...] = ()
    """What was left out, for the operator."""
    arms: Mapping[str, tuple[ArmEntry, ...]] = field(default_factory=dict)
    """``dense`` and ``lexical`` alone, best first; only where asked for."""


def least_similarity(score_threshold: float | None) -> float | None:
    """The ``min_score`` that keeps the passages of this relevance: all of them at 0, which also the unlike have."""
    return -1.0 if score_threshold == 0 else score_threshold


class KnowledgeClient(Protocol):
    """Searches knowledge on behalf of generation."""

    async def search(self, request: SearchRequest) -> SearchResult:
        """The best passages, best first.

        Raises:
            VectorStoreNotFound: no store of that name or id that the caller may see.
            FilterInvalid: the filter is not one.
            KnowledgeServerError: retrieval cannot answer now.
        """
        ...
