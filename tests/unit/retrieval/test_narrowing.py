"""Searches under a selection return k passages where k exist, by any plan."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.indexes import narrowing
from retrieval.indexes.narrowing import Found, attempts, search
from retrieval.selection import Numbers, Selection
from retrieval.types import PASSAGE_BITS


def selection(allowed: set[int], denied: set[int]) -> Selection:
    return Selection(np.array(sorted(allowed), dtype=np.int64), np.array(sorted(denied), dtype=np.int64))


class Rows:
    """An index that understands the expressions, and may leave something out unless it reads everything."""

    def __init__(self, documents: list[int], missing: frozenset[int] = frozenset()) -> None:
        self.matches = [(one << PASSAGE_BITS | place, 1 - place / 1000) for place, one in enumerate(documents)]
        self.missing = missing
        self.asked: list[tuple[int, str]] = []

    def find(self, limit: int, expression: str) -> list[Found]:
        self.asked.append((limit, expression))
        listed = {int(number) for number in re.findall(r"\d+", expression)}
        keep = [
            (key, score)
            for key, score in self.matches
            if (not expression or (key >> PASSAGE_BITS in listed) is not expression.startswith("not"))
            and key % (1 << PASSAGE_BITS) not in self.missing
        ]
        return keep[:limit]

    def exactly(self, documents: Numbers) -> list[Found]:
        there = set(documents.tolist())
        return [(key, score) for key, score in self.matches if key >> PASSAGE_BITS in there][::-1]


@given(
    st.lists(st.integers(0, 30), max_size=60),
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(0, 30)),
    st.integers(1, 20),
    st.frozensets(st.integers(0, 60)),
    st.sampled_from([(4096, 32768), (2, 3)]),
)
def test_the_best_k_allowed_passages_are_found(
    documents: list[int],
    allowed: set[int],
    others: set[int],
    k: int,
    missing: frozenset[int],
    limits: tuple[int, int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrowing, "LIST_LIMIT", limits[0])
        patch.setattr(narrowing, "LIST_CHUNK", limits[1])
        whole, gappy = Rows(documents), Rows(documents, missing)
        chosen = selection(allowed, others - allowed)
        exact = [match for match in whole.matches if match[0] >> PASSAGE_BITS in allowed][:k]
        assert search(whole.find, k, chosen) == exact
        assert len(search(gappy.find, k, chosen, exactly=gappy.exactly)) == len(exact)


def test_without_restrictions_one_search_without_an_expression_is_enough() -> None:
    rows = Rows(list(range(100)))
    assert len(search(rows.find, 10, selection(set(range(100)), set()))) == 10
    assert rows.asked == [(18, "")]


def test_where_nothing_is_allowed_nothing_is_asked() -> None:
    rows = Rows([1, 2, 3])
    assert search(rows.find, 10, selection(set(), {1, 2, 3})) == []
    assert rows.asked == []


def test_where_few_are_allowed_they_are_listed() -> None:
    (attempt,) = attempts(5, selection({7}, set(range(10, 20))))
    assert attempt.expressions == ("document in [7]",)
    assert attempt.exact


def test_what_is_dropped_is_made_up_for_by_a_larger_limit() -> None:
    first, last = list(attempts(20, selection({1, 2, 3}, {7})))
    assert (first.limit, first.expressions) == (int(1.25 * 20 / 0.75) + 8, ("",))
    assert (last.expressions, last.exact) == (("document in [1,2,3]",), True)


def test_long_lists_are_avoided_where_dropping_will_do() -> None:
    many = selection(set(range(0, 20_000, 2)), set(range(1, 20_000, 2)))
    first, last = list(attempts(5, many))
    assert first.expressions == ("",)
    assert first.limit == 20
    assert last.exact
    assert last.expressions[0].count(",") == 9_999


def test_only_digits_and_our_own_words_reach_the_index() -> None:
    for one in attempts(5, selection({1, 2**60}, {3})):
        assert all(re.fullmatch(r"(not \()?document in \[[\d,]+\]\)?|", text) for text in one.expressions)
