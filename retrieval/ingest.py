"""From a file's bytes to passages with vectors: what is stored for one edition of a document."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.chunking import ChunkLimits, CountTokens, Piece, chunk
from retrieval.embedding import Embedder
from retrieval.parsing.blocks import ParsedDocument
from retrieval.types import PASSAGE_BITS, Passage, Vectors

MAX_TEXT_BYTES = 60_000
"""Of one passage with its context: Milvus takes 65,535."""


@dataclass(frozen=True, slots=True)
class Edition:
    """A document as it is stored."""

    passages: tuple[Passage, ...]
    vectors: Vectors


def limits_for(embedder: Embedder, max_tokens: int | None = None, overlap_tokens: int = 0) -> ChunkLimits:
    """How long passages may be: as asked, within what the embedder reads."""
    room = embedder.max_tokens if max_tokens is None else min(max_tokens, embedder.max_tokens)
    return ChunkLimits(room, min(overlap_tokens, room // 2))


def make_edition(document: int, parsed: ParsedDocument, limits: ChunkLimits, embedder: Embedder) -> Edition:
    """Split and embed a document.

    Args:
        document: the number of this edition.

    Raises:
        EmbedderUnavailable: nothing was stored; it may be tried again.
        ValueError: the document has more passages than an index can tell apart.
    """
    pieces = chunk(parsed, limits, _count_bounded(embedder))
    if len(pieces) >= 1 << PASSAGE_BITS:
        raise ValueError(f"{len(pieces)} passages in one document; at most {1 << PASSAGE_BITS} can be told apart")
    passages = tuple(_passage(document, number, piece) for number, piece in enumerate(pieces))
    return Edition(passages, embedder.embed_documents([passage.searchable for passage in passages]))


def _passage(document: int, number: int, piece: Piece) -> Passage:
    return Passage(document, number, piece.text, piece.context)


def _count_bounded(embedder: Embedder) -> CountTokens:
    """Counts tokens, and bytes where a text has many for its tokens: white space, or words that the model lacks."""
    bytes_per_token = max(MAX_TEXT_BYTES // (2 * embedder.max_tokens), 1)

    def count(texts: Sequence[str]) -> list[int]:
        sizes = (len(text.encode()) // bytes_per_token for text in texts)
        return [max(tokens, size) for tokens, size in zip(embedder.count_tokens(texts), sizes, strict=True)]

    return count
