"""Peeking at two rates."""

import itertools
import json
import math
import time

import numpy as np
import pytest
from scipy import stats

from training.gating.sequential import Counts, MeanTest, OneSided, RateTest, Tally, Values

_GAPS = np.array([-0.3, -0.02, 0.0, 0.05, 0.4])


def _stream(rng: np.random.Generator, test: RateTest, rates: tuple[float, float], shares: np.ndarray) -> int | None:
    """Feed one request after the other; at which one the candidate was first called worse."""
    to_candidate = rng.random(len(shares)) < shares
    bad = rng.random(len(shares)) < np.where(to_candidate, *rates)
    for index, (candidate, outcome) in enumerate(zip(to_candidate.tolist(), bad.tolist(), strict=True), start=1):
        test.update(*((outcome, 1, 0, 0) if candidate else (0, 0, outcome, 1)))
        if test.worse:
            return index
    return None


@pytest.mark.parametrize(("n_first", "n_second"), [(3, 3), (1, 12), (10, 2), (15, 20)])
@pytest.mark.parametrize("past", [(0.0, 0), (5.0, 40), (40.0, 40)])
def test_no_bet_gains_in_expectation_under_its_null(n_first: int, n_second: int, past: tuple[float, int]) -> None:
    wealth = np.empty((n_first + 1, n_second + 1, len(_GAPS), 7))
    for first, second in itertools.product(range(n_first + 1), range(n_second + 1)):
        one = OneSided(_GAPS)
        one.settle(Counts(first, n_first), Counts(second, n_second), (Tally(*past), Tally(*past)))
        wealth[first, second] = np.exp(one._log_wealth)
    rates = np.linspace(0, 1, 41)
    of_first = stats.binom.pmf(np.arange(n_first + 1), n_first, rates[:, None])
    of_second = stats.binom.pmf(np.arange(n_second + 1), n_second, rates[:, None])

    means = np.einsum("ax,by,xygt->abgt", of_first, of_second, wealth)

    true = rates[:, None, None] <= rates[None, :, None] + _GAPS + 1e-12
    assert means[true].max() <= 1 + 1e-9
    # The price is no higher than it must be: some null is just paid for.
    assert means[true].max() >= 0.99


@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.05), (0.02, 0.5), (0.3, 0.2)])
def test_equal_versions_are_seldom_called_worse_although_every_request_is_peeked_at(rate: float, share: float) -> None:
    rng = np.random.default_rng(7)
    shares = np.full(600, share)

    alarms = sum(_stream(rng, RateTest(0.05, 0.02), (rate, rate), shares) is not None for _ in range(60))

    assert alarms <= 3


def test_rates_that_drift_while_the_share_grows_raise_no_alarm() -> None:
    """The sums would say 24 % against 9 %: most of the candidate's requests came in the bad hours."""
    test = RateTest(0.05, 0.02)
    for rate, share in ((0.02, 0.05), (0.05, 0.1), (0.3, 0.5)):
        for _ in range(20):
            candidate, current = round(1000 * share), round(1000 * (1 - share))
            test.update(round(rate * candidate), candidate, round(rate * current), current)

    assert test.candidate.rate > 2 * test.current.rate
    assert not test.worse
    assert test.p_value > 0.5


def test_a_version_that_breaks_a_tenth_of_its_outputs_is_found_fast() -> None:
    rng = np.random.default_rng(3)
    shares = np.full(3000, 0.2)

    found = [_stream(rng, RateTest(0.05, 0.02), (0.109, 0.01), shares) for _ in range(15)]

    assert None not in found
    assert np.median([one for one in found if one is not None]) <= 350


def test_a_version_that_is_as_good_is_found_not_worse_and_never_worse() -> None:
    rng = np.random.default_rng(5)
    test = RateTest(0.05, 0.05)
    for _ in range(100):
        test.update(int(rng.binomial(20, 0.02)), 20, int(rng.binomial(80, 0.02)), 80)

    assert (test.not_worse, test.worse) == (True, False)
    assert test.p_not_worse <= 0.05
    low, high = test.interval()
    assert low <= 0 <= high <= 0.05


def test_what_is_tolerated_is_not_called_worse() -> None:
    strict, lenient = RateTest(0.05, 0.1), RateTest(0.05, 0.1, tolerated=0.08)
    for test in (strict, lenient):
        for _ in range(100):
            test.update(5, 100, 1, 100)

    assert strict.worse
    assert not lenient.worse


def test_a_test_that_found_something_does_not_forget_it() -> None:
    test = RateTest(0.05, 0.02)
    test.update(60, 100, 5, 100)
    shown = test.p_value
    for _ in range(20):
        test.update(0, 100, 5, 100)

    assert test.worse
    assert test.p_value == shown


def test_only_the_sums_of_an_increment_count() -> None:
    """Two logs of the same requests in other orders come to the same."""
    first, second = RateTest(0.05, 0.02), RateTest(0.05, 0.02)
    first.update(7, 40, 3, 60)
    for bad in [1] * 3 + [0] * 57:
        second.update(0, 0, bad, 1)
    second.update(7, 40, 0, 0)

    assert first.p_value == second.p_value


def test_an_arm_without_requests_tells_nothing() -> None:
    test = RateTest(0.05, 0.02)
    test.update(0, 0, 500, 1000)
    test.update(2, 2, 0, 0)

    assert (test.p_value, test.worse, test.interval()) == (1.0, False, (-1.0, 1.0))
    assert (test.candidate, test.current) == (Tally(2, 2), Tally(500, 1000))


@pytest.mark.parametrize("rates", [(0.3, 0.1), (0.1, 0.3), (0.05, 0.05), (1.0, 0.0)])
def test_the_interval_holds_the_difference_and_agrees_with_the_claims(rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(11)
    test = RateTest(0.05, 0.02)
    for _ in range(60):
        test.update(int(rng.binomial(30, rates[0])), 30, int(rng.binomial(70, rates[1])), 70)
    low, high = test.interval()

    assert low <= rates[0] - rates[1] <= high
    assert low < 0 or test.worse
    assert high > 0 or test.not_worse


def test_the_interval_covers_at_all_times() -> None:
    rng = np.random.default_rng(13)
    missed = 0
    for _ in range(60):
        test = RateTest(0.1, 0.02)
        for _ in range(60):
            test.update(int(rng.binomial(5, 0.25)), 5, int(rng.binomial(20, 0.15)), 20)
        low, high = test.interval()
        missed += not low <= 0.1 <= high

    assert missed <= 6


def test_a_test_goes_on_after_a_restart() -> None:
    whole, parts = RateTest(0.05, 0.02, tolerated=0.01), RateTest(0.05, 0.02, tolerated=0.01)
    rng = np.random.default_rng(17)
    for _ in range(50):
        increment = (int(rng.binomial(2, 0.2)), 2, int(rng.binomial(5, 0.1)), 5)
        whole.update(*increment)
        parts.update(*increment)
        parts = RateTest.from_json(json.loads(json.dumps(parts.to_json())))

    assert parts.p_value == pytest.approx(whole.p_value, abs=1e-4)
    assert parts.interval() == whole.interval()
    assert (parts.candidate, parts.current) == (whole.candidate, whole.current)
    assert len(json.dumps(parts.to_json())) < 10_000


def test_a_state_of_another_shape_is_refused() -> None:
    state = RateTest(0.05, 0.02).to_json()
    state["above"]["wealth"] = state["above"]["wealth"][1:]

    with pytest.raises(ValueError, match="another version"):
        RateTest.from_json(state)


@pytest.mark.parametrize("counts", [(2, 1, 0, 0), (-1, 1, 0, 0), (0, 0, 3, 2), (0, 0, -1, 2)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        RateTest(0.05, 0.02).update(*counts)


@pytest.mark.parametrize(("alpha", "margin", "tolerated"), [(0, 0.1, 0), (1, 0.1, 0), (0.05, 1, 0), (0.05, 0.1, -0.1)])
def test_settings_out_of_range_are_refused(alpha: float, margin: float, tolerated: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateTest(alpha, margin, tolerated=tolerated)


def test_means_of_zeros_and_ones_are_rates() -> None:
    rates, means = RateTest(0.05, 0.02), MeanTest(0.05, 0.02)
    for _ in range(10):
        rates.update(3, 8, 1, 20)
        means.update([1.0] * 3 + [0.0] * 5, [1.0] + [0.0] * 19)

    assert means.p_value == pytest.approx(rates.p_value)
    assert means.interval() == rates.interval()


def test_worse_scores_are_found_and_equal_ones_are_not() -> None:
    rng = np.random.default_rng(19)
    worse, equal = MeanTest(0.05, 0.05), MeanTest(0.05, 0.05)
    for _ in range(60):
        worse.update(rng.beta(4, 6, 5), rng.beta(2, 8, 20))
        equal.update(rng.beta(2, 8, 5), rng.beta(2, 8, 20))

    assert worse.worse
    assert not equal.worse
    restored = MeanTest.from_json(json.loads(json.dumps(worse.to_json())))
    assert restored.interval() == worse.interval()


def test_scores_outside_of_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        MeanTest(0.05, 0.05).update([0.5, math.nan], [])


def test_an_arm_that_waits_long_for_the_other_stays_small() -> None:
    test = MeanTest(0.05, 0.05)
    for _ in range(30):
        test.update([], [0.5] * 100)

    assert len(json.dumps(test.to_json())) < 15_000
    assert test.current.n == 3000


def test_an_update_takes_well_below_a_millisecond() -> None:
    test = RateTest(0.05, 0.02)
    took = []
    for _ in range(50):
        started = time.perf_counter()
        test.update(1, 4, 2, 20)
        took.append(time.perf_counter() - started)

    assert min(took) < 0.001


def test_values_and_counts_say_the_same_of_themselves() -> None:
    assert (Values((1.0, 0.0, 1.0)).total, Values((1.0, 0.0, 1.0)).n) == (Counts(2, 3).total, Counts(2, 3).n)


def test_a_block_that_is_discarded_counts_for_nothing() -> None:
    test = RateTest(0.05, 0.02)
    test.update(1, 10, 1, 10)
    before = test.to_json()
    test.update(0, 0, 900, 1000)

    test.discard()

    assert test.to_json() == before
    assert (test.candidate, test.current) == (Tally(1.0, 10), Tally(1.0, 10))
    scores = MeanTest(0.05, 0.02)
    scores.update([0.5], [])
    scores.discard()
    scores.update([], [0.5, 0.5, 0.5])
    assert scores.p_value == 1.0
