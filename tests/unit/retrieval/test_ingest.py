"""From a parsed file to the passages that are stored."""

from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.chunking import ChunkLimits
from retrieval.ingest import MAX_TEXT_BYTES, limits_for, make_edition
from retrieval.parsing.parse import parse
from tests.word_embedder import WordEmbedder

EMBEDDER = WordEmbedder()


def test_an_edition_has_a_vector_for_each_passage_of_its_text_and_context() -> None:
    parsed = parse("a.md", b"# Vault\n\n## Price\n\nIt costs 45 EUR.\n\n## Size\n\nIt holds a terabyte.")
    edition = make_edition(7, parsed, limits_for(EMBEDDER), EMBEDDER)
    assert [(one.document, one.number, one.context, one.text) for one in edition.passages] == [
        (7, 0, "Vault > Price", "It costs 45 EUR."),
        (7, 1, "Vault > Size", "It holds a terabyte."),
    ]
    wanted = EMBEDDER.embed_documents(["Vault > Price\n\nIt costs 45 EUR.", "Vault > Size\n\nIt holds a terabyte."])
    assert np.array_equal(edition.vectors, wanted)


def test_passages_are_no_longer_than_asked_and_than_the_embedder_reads() -> None:
    assert limits_for(EMBEDDER).max_tokens == EMBEDDER.max_tokens
    assert limits_for(EMBEDDER, 4_096, 2_048).overlap_tokens == EMBEDDER.max_tokens // 2
    assert limits_for(EMBEDDER, 32).max_tokens == 32


@pytest.mark.parametrize("text", [" word" * 10 + " " * 1_000_000 + "end", "\u200b" * 200_000, "!?" * 100_000])
def test_text_that_has_few_tokens_for_its_length_still_fits_the_index(text: str) -> None:
    edition = make_edition(1, parse("a.txt", text.encode()), limits_for(EMBEDDER), EMBEDDER)
    assert edition.passages
    assert all(len(one.searchable.encode()) <= MAX_TEXT_BYTES for one in edition.passages)


class Blind(WordEmbedder):
    """Sees nothing in white space, as tokenizers do."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [size if text.strip() else 0 for text, size in zip(texts, super().count_tokens(texts), strict=True)]


def test_lines_in_which_a_tokenizer_sees_nothing_still_fill_a_passage() -> None:
    text = "a = 1\n" + ("\n" + " " * 100 + "\n") * 3_000 + "b = 2"
    edition = make_edition(1, parse("a.py", text.encode()), limits_for(Blind()), Blind())
    assert max(len(one.searchable.encode()) for one in edition.passages) <= MAX_TEXT_BYTES


def test_a_passage_that_no_index_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        make_edition(1, parse("a.txt", b"x" * 100_000), ChunkLimits(10**9), EMBEDDER)


def test_a_long_text_without_a_sentence_keeps_every_word() -> None:
    words = " ".join(f"word{number}" for number in range(200_000))
    edition = make_edition(1, parse("a.txt", words.encode()), limits_for(EMBEDDER), EMBEDDER)
    assert " ".join(one.text for one in edition.passages) == words
