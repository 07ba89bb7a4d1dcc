"""What ``/v1/vector_stores`` takes and gives."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from retrieval.retriever import LEXICAL
from serving.api.bodies import Body, KeptText
from serving.knowledge.protocol import RANKERS, FoundPassage
from serving.knowledge.shelves import Batch, ShelvedStore
from serving.knowledge.types import Chunking, Counts, DocumentRecord, DocumentStatus

_AUTO = {"type": "other"}
_MOST_QUERIES = 16
_LONGEST_QUERY = 4000

_Key = Annotated[KeptText, Field(max_length=64)]
_Value = Annotated[KeptText, Field(max_length=512)]
Metadata = Annotated[dict[_Key, _Value], Field(max_length=16)]


class StaticChunking(Body):
    """How a document is cut."""

    max_chunk_size_tokens: int = Field(ge=16, le=4096)
    chunk_overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _overlap_is_less_than_half(self) -> "StaticChunking":
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise ValueError("`chunk_overlap_tokens` must be at most half of `max_chunk_size_tokens`")
        return self


class ChunkingStrategy(Body):
    """OpenAI's choice between its own way and a size."""

    type: Literal["auto", "static"]
    static: StaticChunking | None = None

    @model_validator(mode="after")
    def _static_has_sizes(self) -> "ChunkingStrategy":
        if (self.type == "static") != (self.static is not None):
            raise ValueError("`static` goes with the type `static`, and that type needs it")
        return self

    @property
    def chunking(self) -> Chunking | None:
        """None: as the store has it."""
        if self.static is None:
            return None
        return Chunking(self.static.max_chunk_size_tokens, self.static.chunk_overlap_tokens)


class ExpiresAfter(Body):
    """A life counted from the last use."""

    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=365)


class CreateStore(Body):
    """A vector store to make."""

    name: KeptText = Field(default="", max_length=256)
    description: KeptText | None = Field(default=None, max_length=512)
    file_ids: list[KeptText] = Field(default_factory=list, max_length=500)
    expires_after: ExpiresAfter | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None


class UpdateStore(Body):
    """What is to change of a vector store."""

    name: KeptText | None = Field(default=None, max_length=256)
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None


class AttachFile(Body):
    """A file for a vector store."""

    file_id: KeptText
    attributes: dict[str, Any] | None = None
    chunking_strategy: ChunkingStrategy | None = None


class CreateBatch(Body):
    """Files for a vector store."""

    file_ids: list[KeptText] | None = Field(default=None, min_length=1, max_length=500)
    files: list[AttachFile] | None = Field(default=None, min_length=1, max_length=500)
    attributes: dict[str, Any] | None = None
    chunking_strategy: ChunkingStrategy | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "CreateBatch":
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("give exactly one of `file_ids` and `files`")
        return self

    @field_validator("attributes", "chunking_strategy")
    @classmethod
    def _is_of_file_ids(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("files") is not None:
            raise ValueError("it goes with `file_ids`; each of `files` has its own")
        return value

    @property
    def attachments(self) -> list[AttachFile]:
        """Each file with what holds for it."""
        if self.files is not None:
            return self.files
        shared = {"attributes": self.attributes, "chunking_strategy": self.chunking_strategy}
        return [AttachFile(file_id=file_id, **shared) for file_id in self.file_ids or ()]


class SetAttributes(Body):
    """What is known of a document."""

    attributes: dict[str, Any] | None


class RankingOptions(Body):
    """How results are ranked."""

    ranker: str = "auto"
    score_threshold: float | None = Field(default=None, ge=0, le=1)

    @field_validator("ranker")
    @classmethod
    def _is_the_gateways(cls, ranker: str) -> str:
        if ranker not in RANKERS:
            raise ValueError(f"the ranker is the gateway's own; {' and '.join(RANKERS)} mean it")
        return ranker


class SearchStore(Body):
    """A question to a vector store."""

    query: str | list[str]
    rewrite_query: bool = False
    max_num_results: int = Field(default=10, ge=1, le=50)
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions = RankingOptions()

    @field_validator("query")
    @classmethod
    def _is_few_questions(cls, query: str | list[str]) -> str | list[str]:
        questions = [query] if isinstance(query, str) else query
        if not 0 < len(questions) <= _MOST_QUERIES or not all(one.strip() for one in questions):
            raise ValueError(f"it must be a question, or a list of 1 to {_MOST_QUERIES} questions")
        if any(len(one) > _LONGEST_QUERY for one in questions):
            raise ValueError(f"a question has at most {_LONGEST_QUERY} characters")
        return query

    @property
    def queries(self) -> list[str]:
        """All questions."""
        return [self.query] if isinstance(self.query, str) else self.query


def counts_view(counts: Counts) -> dict[str, int]:
    """Documents by status."""
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def store_view(store: ShelvedStore) -> dict[str, Any]:
    """A vector store as OpenAI's API shows it."""
    record, days = store.record, store.record.expires_after_days
    busy = "in_progress" if store.counts.in_progress else "completed"
    return {
        "id": record.id,
        "object": "vector_store",
        "created_at": record.created_at,
        "name": record.name,
        "usage_bytes": store.counts.usage_bytes,
        "file_counts": counts_view(store.counts),
        "status": "expired" if store.expired else busy,
        **({} if days is None else {"expires_after": {"anchor": "last_active_at", "days": days}}),
        "expires_at": None if days is None else record.last_active_at + days * 86_400,
        "last_active_at": record.last_active_at,
        "metadata": dict(record.metadata),
    }


def document_view(record: DocumentRecord) -> dict[str, Any]:
    """A file in a vector store as OpenAI's API shows it, with its name and digest besides."""
    chunking = record.chunking
    failed = record.status is DocumentStatus.FAILED
    return {
        "id": record.file_id,
        "object": "vector_store.file",
        "usage_bytes": record.usage_bytes,
        "created_at": record.created_at,
        "vector_store_id": record.store_id,
        "status": record.status.value,
        "last_error": {"code": record.error_code, "message": record.error_message} if failed else None,
        "chunking_strategy": _AUTO if chunking is None else _static(chunking),
        "attributes": dict(record.attributes),
        "filename": record.filename,
        "sha256": record.sha256,
        "passages": record.passages,
    }


def _static(chunking: Chunking) -> Mapping[str, Any]:
    sizes = {"max_chunk_size_tokens": chunking.max_tokens, "chunk_overlap_tokens": chunking.overlap_tokens}
    return {"type": "static", "static": sizes}


def batch_view(batch: Batch) -> dict[str, Any]:
    """A batch as OpenAI's API shows it."""
    counts = batch.counts
    if counts.in_progress:
        status = "in_progress"
    elif counts.cancelled:
        status = "cancelled"
    else:
        status = "failed" if counts.failed and not counts.completed else "completed"
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": batch.created_at,
        "vector_store_id": batch.store_id,
        "status": status,
        "file_counts": counts_view(counts),
    }


def result_view(passage: FoundPassage, *, explained: bool, raw: bool = False) -> dict[str, Any]:
    """A search result as OpenAI's API shows it.

    Args:
        explained: with the score of every stage.
        raw: BM25 among them, which depends on the words of all documents, hidden ones too.
    """
    view: dict[str, Any] = {
        "file_id": passage.file_id,
        "filename": passage.filename,
        "score": passage.relevance,
        "attributes": dict(passage.attributes),
        "content": [{"type": "text", "text": passage.text}],
    }
    if explained:
        view |= {
            "passage": passage.number,
            "context": passage.context,
            "title": passage.title,
            "source": passage.source,
            "scores": {stage: score for stage, score in passage.scores.items() if raw or stage != LEXICAL},
            "superseded_by": passage.superseded_by,
        }
    return view
