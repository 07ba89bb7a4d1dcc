"""How citations are read from generated text."""

import itertools
import re

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from serving.grounding.citations import CitationReader, citations
from tests.unit.serving.passages import given

NUMBERS = (1, 2, 3)


def _read(*pieces: str, keep_all: bool = False) -> tuple[str, CitationReader]:
    reader = CitationReader(NUMBERS, keep_all=keep_all)
    text = "".join(reader.feed(piece) for piece in pieces) + reader.finish()
    assert text == reader.text
    return text, reader


@pytest.mark.parametrize(
    ("text", "emitted", "numbers", "dropped"),
    [
        ("Thirty days [1].", "Thirty days [1].", [(1,)], 0),
        ("Thirty days [9].", "Thirty days.", [], 1),
        ("in [9] and out [8]", "in and out", [], 2),
        ("a [1, 2] b [2,3]", "a [1, 2] b [2,3]", [(1, 2), (2, 3)], 0),
        ("a [1, 9]", "a [1]", [(1,)], 1),
        ("a [1][2]", "a [1][2]", [(1,), (2,)], 0),
        ("a [9][1] b", "a [1] b", [(1,)], 1),
        ("a [1][9] b", "a [1] b", [(1,)], 1),
        ("[7]\nnext", "\nnext", [], 1),
        ("[1, 1]", "[1, 1]", [(1,)], 0),
        ('"quoted"[2]', '"quoted"[2]', [(2,)], 0),
    ],
)
def test_markers(text: str, emitted: str, numbers: list[tuple[int, ...]], dropped: int) -> None:
    out, reader = _read(text)
    assert out == emitted
    assert [marker.numbers for marker in reader.markers] == numbers
    assert all(re.fullmatch(r"\[[\d, ]+\]", out[marker.start : marker.end]) for marker in reader.markers)
    assert reader.dropped == dropped


@pytest.mark.parametrize(
    "text",
    [
        "a[0] + a[9]",
        "f(x)[9]",
        "m[9][8]",
        "[link][9]",
        "[[9]]",
        "[1, [9]2]",
        "[0]",
        "[2024]",
        "[x]",
        "[ 9 ]",
        "[9",
        "`x = [9]`",
        "``[9] ` [9]``",
        "```python\nx = [9]\n\n[9]\n```",
        "~ [" + "1, " * 40 + "9]",
        "trailing space ",
    ],
)
def test_what_is_no_marker_stays_as_it_is(text: str) -> None:
    out, reader = _read(text)
    assert out == text
    assert not reader.markers
    assert reader.dropped == 0


def test_code_ends_with_its_backticks_its_fence_or_its_line() -> None:
    for text in ("`x` [1]", "```\nx\n``` [1]", "it`s\nthen [1]", "```\n`\n``\n```\n[1]"):
        assert _read(text)[1].markers, text


def test_code_spans_around_a_dropped_marker_stay_apart() -> None:
    assert _read("`a`[9]`b`")[0] == "`a` `b`"


def test_a_text_with_a_fixed_shape_loses_nothing() -> None:
    out, reader = _read('{"a": "x [9]", "b": "y [1, 8]"}', keep_all=True)
    assert out == '{"a": "x [9]", "b": "y [1, 8]"}'
    assert reader.dropped == 2
    assert [marker.numbers for marker in reader.markers] == [(1,)]


def test_only_what_could_be_a_marker_is_held_back() -> None:
    reader = CitationReader(NUMBERS)
    assert reader.feed("Thirty days") == "Thirty days"
    assert reader.feed(" [1") == ""
    assert reader.feed("2x") == " [12x"
    assert reader.feed(" [") == ""
    assert reader.finish() == " ["


def test_a_citation_quotes_the_sentence_that_supports_it() -> None:
    passages = given("Shipping is free. A refund takes 30 days. Call us.", "Cats sleep.")
    text, reader = _read("You get the refund within 30 days. [1] Dogs bark [2].")
    first, second = citations(text, reader.markers, passages)
    assert (first.passage.number, first.quote) == (1, "A refund takes 30 days.")
    assert text[first.start : first.end] == "[1]"
    assert (second.passage.number, second.quote) == (2, "")


_text = st.text(alphabet=st.sampled_from("[]]][[1239, `\n.ax)"), max_size=60)


@examples(_text, st.data())
def test_how_a_text_was_cut_into_pieces_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    bounds = [0, *cuts, len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    whole, one = _read(text)
    parts, several = _read(*pieces)
    assert parts == whole
    assert several.markers == one.markers
    assert several.dropped == one.dropped


@examples(_text)
def test_what_is_emitted_holds_no_marker_of_a_missing_passage(text: str) -> None:
    out, reader = _read(text)
    again, second = _read(out)
    assert second.dropped == 0
    assert again == out
    for marker in reader.markers:
        assert set(marker.numbers) <= set(NUMBERS)
        assert re.fullmatch(r"\[[123](, ?[123])*\]", out[marker.start : marker.end])


@examples(_text)
def test_nothing_but_markers_and_spaces_is_ever_taken_away(text: str) -> None:
    out, reader = _read(text)
    if not reader.dropped:
        assert out == text
    letters = re.compile(r"[^ax\n.)`]")
    assert letters.sub("", out) == letters.sub("", text)
