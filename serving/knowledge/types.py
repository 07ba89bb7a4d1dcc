"""What is known of files, vector stores and the documents in them. Pure."""

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from retrieval.errors import AttributesInvalid
from retrieval.types import NEVER, Attributes, AttributeValue, DocumentMeta

RESERVED = ("labels", "source", "title", "version", "effective_at", "expires_at")
"""Attributes that mean something to the gateway itself, besides being there to filter by."""

_MAX_LABEL = 64
_MAX_LABELS = 32


class DocumentStatus(StrEnum):
    """OpenAI's states of a file in a vector store."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An uploaded file."""

    id: str
    serial: int
    """Order of arrival."""
    filename: str
    bytes: int
    sha256: str
    purpose: str
    owner: str
    """Name of the key that uploaded it."""
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """A vector store."""

    id: str
    serial: int
    name: str
    owner: str
    configured: bool
    """Whether the configuration keeps it."""
    metadata: Mapping[str, str]
    labels: frozenset[str]
    created_at: int
    last_active_at: int
    expires_after_days: int | None
    index_name: str | None
    """The index that searches use; None before the first document."""
    recipe: str | None
    """How that index was made; see :mod:`serving.knowledge.recipes`."""
    building_name: str | None
    """The index that is to take its place."""
    building_recipe: str | None


def new_store(
    name: str,
    owner: str,
    now: int,
    *,
    configured: bool = False,
    metadata: Mapping[str, str] | None = None,
    labels: frozenset[str] = frozenset(),
    expires_after_days: int | None = None,
) -> StoreRecord:
    """A store with nothing in it, made at ``now``, Unix seconds. Its serial is given where it is stored."""
    return StoreRecord(
        id=f"vs_{uuid.uuid4().hex}",
        serial=0,
        name=name,
        owner=owner,
        configured=configured,
        metadata=metadata or {},
        labels=labels,
        created_at=now,
        last_active_at=now,
        expires_after_days=expires_after_days,
        index_name=None,
        recipe=None,
        building_name=None,
        building_recipe=None,
    )


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a document is cut where the caller said so."""

    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A file in a vector store."""

    id: int
    store_id: str
    file_id: str
    filename: str
    sha256: str
    bytes: int
    status: DocumentStatus
    error_code: str | None
    error_message: str | None
    attributes: Attributes
    labels: frozenset[str]
    title: str
    """As the document itself has it."""
    chunking: Chunking | None
    replaces: tuple[tuple[str, str], ...]
    """Files of the same source that leave the store once this one is complete, each with its labels as they were when
    the caller was seen to be allowed to replace it."""
    batch_id: str | None
    edition: int | None
    """Number of the passages that are searched; None until they are all there."""
    next_edition: int | None
    """The same in the index that is being built."""
    attempts: int
    """How often an ingestion was begun since one last came to an end, well or not: ended processes."""
    passages: int
    usage_bytes: int
    created_at: int
    accepted_at: float
    """Unix seconds at which this content was taken in."""

    @property
    def meta(self) -> DocumentMeta:
        """As the retriever sees it."""
        return document_meta(self.file_id, self.filename, self.title, self.attributes)


@dataclass(frozen=True, slots=True)
class WrittenEdition:
    """Passages of a document that are all in an index."""

    number: int
    passages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    usage_bytes: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


def document_meta(file_id: str, filename: str, title: str, attributes: Attributes) -> DocumentMeta:
    """What the reserved attributes say. Raises AttributesInvalid where one is not what it must be."""
    return DocumentMeta(
        document=file_id,
        source=_text(attributes, "source") or filename,
        title=_text(attributes, "title") or title,
        version=_version(attributes.get("version")),
        effective_at=_moment(attributes, "effective_at", 0),
        expires_at=_moment(attributes, "expires_at", NEVER),
        labels=parse_labels(attributes.get("labels")),
        attributes=attributes,
    )


def parse_labels(value: AttributeValue | None) -> frozenset[str]:
    """Labels written as ``finance, hr``; none where there is no value. Raises AttributesInvalid."""
    if value is None:
        return frozenset()
    if not isinstance(value, str):
        raise AttributesInvalid("`labels` must be a string with labels separated by commas")
    labels = [part.strip() for part in value.split(",")]
    # An empty string is likelier a variable that was not set than a document for everybody.
    if not all(labels) or len(labels) > _MAX_LABELS or any(len(label) > _MAX_LABEL for label in labels):
        raise AttributesInvalid(
            f"`labels` holds 1 to {_MAX_LABELS} labels of 1 to {_MAX_LABEL} characters; leave it out for a document "
            "that every key may see"
        )
    return frozenset(labels)


def canonical_labels(labels: Collection[str]) -> str:
    """One text for one set of labels."""
    return json.dumps(sorted(labels), ensure_ascii=False)


def labels_of(canonical: str) -> frozenset[str]:
    """The set that :func:`canonical_labels` wrote."""
    return frozenset(json.loads(canonical))


def _text(attributes: Attributes, key: str) -> str:
    value = attributes.get(key, "")
    if not isinstance(value, str):
        raise AttributesInvalid(f"`{key}` must be a string")
    return value


def _version(value: AttributeValue | None) -> str:
    if isinstance(value, bool):
        raise AttributesInvalid("`version` must be a string or a number")
    return f"{value:g}" if isinstance(value, float | int) else value or ""


def _moment(attributes: Attributes, key: str, default: int) -> int:
    """Unix seconds, from a number of them or an ISO 8601 date or time (UTC where it names no zone)."""
    value = attributes.get(key)
    if value is None:
        return default
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value) if len(value) > len("2026-01-01") else _midnight(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        elif isinstance(value, bool):
            raise ValueError
        return min(max(int(value), -NEVER), NEVER)
    except (ValueError, OverflowError):
        raise AttributesInvalid(f"`{key}` must be Unix seconds or a date such as 2026-03-01") from None


def _midnight(text: str) -> datetime:
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
