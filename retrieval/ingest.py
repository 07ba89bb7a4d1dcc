"""From a file's bytes to passages with vectors: what is stored for one edition of a document."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.chunking import ChunkLimits, CountTokens, Piece, chunk
from retrieval.describing import Describer
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


def limits_for(
    embedder: Embedder, max_tokens: int | None = None, overlap_tokens: int = 0, *, reserved: int = 0
) -> ChunkLimits:
    """How long passages may be: as asked, within what the embedder reads.

    Args:
        reserved: tokens that are kept free for a sentence before each passage.
    """
    most = max(embedder.max_tokens - reserved, embedder.max_tokens // 2)
    room = most if max_tokens is None else min(max_tokens, most)
    return ChunkLimits(room, min(overlap_tokens, room // 2))


def make_edition(
    document: int,
    parsed: ParsedDocument,
    limits: ChunkLimits,
    embedder: Embedder,
    describer: Describer | None = None,
) -> Edition:
    """Split and embed a document.

    Args:
        document: the number of this edition.
        describer: writes a sentence that is searched with each passage.

    Raises:
        EmbedderUnavailable, DescriberUnavailable: nothing was stored; it may be tried again.
        TextRejected: a model refuses one of its texts.
        ValueError: the document has more passages than an index can tell apart, or one that is too long for it.
    """
    pieces = chunk(parsed, limits, _count_bounded(embedder))
    if len(pieces) >= 1 << PASSAGE_BITS:
        raise ValueError(f"{len(pieces)} passages in one document; at most {1 << PASSAGE_BITS} can be told apart")
    contexts = _contexts(parsed, pieces, embedder, describer)
    passages = tuple(
        Passage(document, number, piece.text, context)
        for number, (piece, context) in enumerate(zip(pieces, contexts, strict=True))
    )
    longest = max((len(passage.searchable.encode()) for passage in passages), default=0)
    if longest > MAX_TEXT_BYTES:
        raise ValueError(f"a passage of {longest:,} bytes; at most {MAX_TEXT_BYTES:,} can be stored")
    return Edition(passages, embedder.embed_documents([passage.searchable for passage in passages]))


def _contexts(
    parsed: ParsedDocument, pieces: Sequence[Piece], embedder: Embedder, describer: Describer | None
) -> list[str]:
    """The headings above each piece, and the sentence that a model wrote for it, as far as the embedder reads it."""
    if describer is None:
        return [piece.context for piece in pieces]
    whole = "\n\n".join([parsed.title, *(block.text for block in parsed.blocks)])
    sentences = describer.describe(whole, [piece.text for piece in pieces])
    return [
        "\n".join(part for part in (piece.context, _shortened(sentence, describer.max_tokens, embedder)) if part)
        for piece, sentence in zip(pieces, sentences, strict=True)
    ]


def _shortened(sentence: str, max_tokens: int, embedder: Embedder) -> str:
    words = sentence.split()
    while words and embedder.count_tokens([" ".join(words)])[0] > max_tokens:
        words = words[: len(words) * 3 // 4]
    return " ".join(words)


def _count_bounded(embedder: Embedder) -> CountTokens:
    """Counts tokens, and bytes where a text has many for its tokens: white space, or words that the model lacks."""
    bytes_per_token = max(MAX_TEXT_BYTES // (2 * embedder.max_tokens), 1)

    def count(texts: Sequence[str]) -> list[int]:
        # A tokenizer may see nothing in white space; a million such lines are a long text all the same.
        sizes = (len(text.encode()) // bytes_per_token + bool(text) for text in texts)
        return [max(tokens, size) for tokens, size in zip(embedder.count_tokens(texts), sizes, strict=True)]

    return count
