"""Loops, and texts that only repeat themselves a little."""

import json
import random
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality.options import RepetitionOptions
from monitoring.quality.repetition import compression, looped_suffix, repeated_ngrams, repetition
from tests.observed_answers import observed

_SENTENCE = "It is on its way to you. "
_WORDS = (
    "stone",
    "river",
    "lamp",
    "garden",
    "copper",
    "window",
    "market",
    "letter",
    "winter",
    "harbour",
    "silver",
    "train",
    "paper",
    "bridge",
    "candle",
)


def _prose(words: int, seed: int = 1) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(_WORDS) + str(chosen.randrange(1000)) for _ in range(words))


def _badness(text: str) -> float:
    check = repetition(observed(text), RepetitionOptions())
    assert check is not None
    return check.badness


@pytest.mark.parametrize(
    "text",
    [
        _SENTENCE * 40,
        "Here is the answer. " + _SENTENCE * 40,
        _prose(100) + _SENTENCE * 20 + "It is on i",
        '{"label": "' + " " * 500,
        "word " * 100,
        '{"summary": "' + "a loop of words, " * 200 + '"}',
        "また来てください。" * 60,
        "Begin. " + " ".join(f"Step {n}: open the door and go on to the next room of the house." for n in range(60)),
    ],
)
def test_a_loop_is_bad(text: str) -> None:
    assert _badness(text) >= 0.5


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "ha ha ha ha ha",
        _prose(300),
        _prose(3000),
        json.dumps([{"id": number, "name": f"item {number * 7919 % 1000}", "ok": True} for number in range(60)]),
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n",
        ", ".join(map(str, range(200))),
    ],
)
def test_a_text_that_goes_on_is_not(text: str) -> None:
    assert _badness(text) < 0.5


@pytest.mark.parametrize(
    ("text", "length"),
    [("", 0), ("abc", 0), ("xabab", 0), ("xabababab", 8), ("abababa", 0), ("xxabcabcabcabcab", 14), ("aaaa", 4)],
)
def test_the_longest_looping_end_is_measured(text: str, length: int) -> None:
    assert looped_suffix(text, 4) == length


@given(st.text("ab", min_size=1, max_size=6), st.text("ab", max_size=8), st.integers(4, 9))
def test_a_unit_that_comes_again_and_again_is_found(unit: str, before: str, times: int) -> None:
    assert looped_suffix(before + unit * times, 4) >= len(unit) * times


def test_repeated_ngrams_are_a_share() -> None:
    assert repeated_ngrams([]) == 0
    assert repeated_ngrams(["one", "two", "three"]) == 0
    assert repeated_ngrams(["one"] * 13) == pytest.approx(0.9)


def test_random_text_does_not_compress() -> None:
    assert compression(_prose(300)) < 6
    assert compression("x" * 5000) > 100
    assert compression("\ud800" * 100) > 1


def test_no_answer_takes_long() -> None:
    hostile = [" " * 2_000_000, "ab" * 1_000_000, "aaaab" * 400_000, "[" * 2_000_000, "a" * 1_999_999 + "b"]
    began = perf_counter()
    for text in hostile:
        repetition(observed(text), RepetitionOptions())
    assert perf_counter() - began < 5


def test_there_is_no_verdict_on_no_text() -> None:
    assert repetition(observed(""), RepetitionOptions()) is None
