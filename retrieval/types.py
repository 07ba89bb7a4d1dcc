"""What the parts of retrieval hand to each other. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

AttributeValue = str | float | bool
"""What a user may attach to a document under a key of his own (OpenAI's vector store file attributes)."""
Attributes = Mapping[str, AttributeValue]
Vectors = NDArray[np.float32]
"""Shape ``(count, dimension)``, rows of length 1."""

NEVER = 2**62
"""``expires_at`` of what does not expire, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class DocumentMeta:
    """What is known of a document besides its text."""

    document: str
    """Its id for clients."""
    source: str = ""
    """Where it came from: a path, a URL, a file's name."""
    title: str = ""
    version: str = ""
    """The author's own version, as ``2.1`` or ``2026-03``."""
    effective_at: int = 0
    """Unix seconds from which it holds; not served before."""
    expires_at: int = NEVER
    """Unix seconds from which it no longer holds."""
    labels: frozenset[str] = frozenset()
    """Who may see it: a caller with any of these. Empty: everyone who may use the knowledge base."""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, small enough for the embedder."""

    document: int
    """The number of the document's stored edition; a new edition of the same document has a new number."""
    number: int
    """Position in the document, from 0."""
    text: str
    """The words as the document has them; what is quoted and cited."""
    context: str = ""
    """What a reader of the piece alone would miss: title and headings above it. Searched with the text, not quoted."""

    @property
    def key(self) -> int:
        """Unique in its index."""
        return self.document << PASSAGE_BITS | self.number

    @property
    def searchable(self) -> str:
        """What is embedded and matched by words."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text


PASSAGE_BITS = 22
"""A document has up to four million passages, an index two trillion editions of documents: 63 bits in all."""


@dataclass(frozen=True, slots=True)
class Match:
    """A passage that one arm found. A higher score is a better one; scales differ between arms."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may see."""

    labels: frozenset[str] = frozenset()
    everything: bool = False
    """An administrator, or a gateway without keys."""

    def allows(self, labels: frozenset[str]) -> bool:
        """Whether a document with ``labels`` may be shown."""
        return self.everything or not labels or not self.labels.isdisjoint(labels)


def is_current(meta: DocumentMeta, now: int) -> bool:
    """Whether the document holds at ``now``, Unix seconds."""
    return meta.effective_at <= now < meta.expires_at
