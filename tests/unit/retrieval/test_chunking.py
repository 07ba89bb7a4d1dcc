"""From blocks to passages. Tokens are words here."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.chunking import ChunkLimits, Piece, chunk
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def pieces(*blocks: Block, limit: int = 16, overlap: int = 0, title: str = "") -> list[Piece]:
    return chunk(ParsedDocument(title, blocks), ChunkLimits(limit, overlap), count_words)


def heading(text: str, level: int = 1) -> Block:
    return Block(BlockKind.HEADING, text, level=level)


def text(words: str) -> Block:
    return Block(BlockKind.TEXT, words)


def test_short_blocks_under_one_heading_are_one_passage() -> None:
    assert pieces(heading("Prices"), text("It costs 40 EUR."), text("Shipping is free.")) == [
        Piece("It costs 40 EUR.\n\nShipping is free.", "Prices")
    ]


def test_a_passage_never_crosses_a_heading_and_knows_those_above_it() -> None:
    found = pieces(
        heading("Guide"), text("Welcome."), heading("Install", 2), text("Run it."), heading("Use", 2), text("Call it.")
    )
    assert found == [
        Piece("Welcome.", "Guide"),
        Piece("Run it.", "Guide > Install"),
        Piece("Call it.", "Guide > Use"),
    ]


def test_the_title_is_said_once_where_it_is_the_first_heading_too() -> None:
    assert pieces(heading("Guide"), text("Welcome."), title="Guide") == [Piece("Welcome.", "Guide")]


def test_prose_is_split_between_sentences() -> None:
    sentences = [f"Sentence number {name} has six words." for name in ("one", "two", "three", "four", "five")]
    found = pieces(text(" ".join(sentences)))
    assert [piece.text for piece in found] == [" ".join(sentences[:2]), " ".join(sentences[2:4]), sentences[4]]


def test_the_end_of_a_piece_begins_the_next_within_the_overlap() -> None:
    sentences = [f"Sentence number {name} has six words." for name in ("one", "two", "three", "four")]
    found = pieces(text(" ".join(sentences)), limit=20, overlap=6)
    assert [piece.text for piece in found] == [" ".join(sentences[:3]), " ".join(sentences[2:])]


def test_code_is_split_at_empty_lines() -> None:
    functions = [f"def f{name}():\n    a = {name}\n    b = a\n    return a + b\n" for name in range(3)]
    found = pieces(Block(BlockKind.CODE, "\n".join(functions)), limit=26)
    assert [piece.text for piece in found] == ["\n".join(functions[:2]).strip("\n"), functions[2].strip("\n")]


def test_every_piece_of_a_table_has_the_header() -> None:
    rows = "\n".join(f"| plan {number} | {number} EUR |" for number in range(9))
    found = pieces(Block(BlockKind.TABLE, rows, header="| name | price |\n| --- | --- |"), limit=30)
    assert len(found) > 1
    assert all(piece.text.startswith("| name | price |\n| --- | --- |\n| plan") for piece in found)


def test_records_are_never_joined() -> None:
    found = pieces(Block(BlockKind.RECORD, "name: a"), Block(BlockKind.RECORD, "name: b"))
    assert [piece.text for piece in found] == ["name: a", "name: b"]


def test_a_long_path_of_headings_keeps_its_first_and_last() -> None:
    path = [heading(f"part {number}", number) for number in range(1, 7)]
    (found,) = pieces(*path, text("Here."), limit=24)
    assert found.context == "part 1 > part 6"


def test_a_document_without_text_has_no_passages() -> None:
    assert pieces(heading("Alone")) == []


@pytest.mark.parametrize(("limit", "overlap"), [(8, 0), (32, 17), (32, -1)])
def test_limits_that_make_no_sense_are_refused(limit: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="passage"):
        ChunkLimits(limit, overlap)


def test_a_word_without_an_end_is_cut() -> None:
    def count_characters(texts: Sequence[str]) -> list[int]:
        return [len(one) for one in texts]

    found = chunk(ParsedDocument("", (text("x" * 100),)), ChunkLimits(16), count_characters)
    assert "".join(piece.text for piece in found) == "x" * 100
    assert all(len(piece.text) <= 16 for piece in found)


blocks = st.one_of(
    st.builds(Block, st.just(BlockKind.HEADING), st.text("ab ", min_size=1), st.integers(1, 6)),
    st.builds(
        Block, st.sampled_from([BlockKind.TEXT, BlockKind.CODE, BlockKind.RECORD]), st.text("abc.! \n", max_size=300)
    ),
)


@given(st.lists(blocks, max_size=8), st.integers(16, 40))
def test_no_word_is_lost_and_no_passage_is_too_long(given_blocks: list[Block], limit: int) -> None:
    found = pieces(*given_blocks, limit=limit, title="a b")
    wanted = " ".join(block.text for block in given_blocks if block.kind is not BlockKind.HEADING).split()
    assert " ".join(piece.text for piece in found).split() == wanted
    assert all(sum(count_words([piece.context, piece.text])) <= limit for piece in found)
    assert all(piece.text.strip() for piece in found)
