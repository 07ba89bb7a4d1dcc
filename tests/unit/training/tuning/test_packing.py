"""Packing: every row once, nothing too long, and less to pad."""

from hypothesis import given
from hypothesis import strategies as st

from training.tuning.packing import pack

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=24)


def _width(lengths: list[int], plan: list[list[int]]) -> int:
    return max(sum(lengths[position] for position in places) for places in plan)


@given(LENGTHS)
def test_every_row_is_laid_out_once(lengths: list[int]) -> None:
    assert sorted(position for places in pack(lengths, 256) for position in places) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 400))
def test_no_sequence_is_longer_than_allowed_unless_a_single_row_is(lengths: list[int], max_length: int) -> None:
    assert _width(lengths, pack(lengths, max_length)) <= max(max_length, max(lengths))


@given(LENGTHS)
def test_packing_never_computes_more_tokens_than_padding_does(lengths: list[int]) -> None:
    plan = pack(lengths, 256)
    assert len(plan) * _width(lengths, plan) <= len(lengths) * max(lengths)


def test_short_rows_fill_what_one_long_row_would_pad() -> None:
    plan = pack([100, 20, 30, 50, 25, 25, 50], 256)
    assert len(plan) == 3
    assert _width([100, 20, 30, 50, 25, 25, 50], plan) == 100


def test_rows_of_equal_length_stay_alone_where_a_longer_sequence_gains_nothing() -> None:
    assert pack([64] * 8, 1024) == [[position] for position in range(8)]
