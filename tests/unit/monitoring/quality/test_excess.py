"""The rule that alerts on output quality follow."""

import random

import pytest

from monitoring.quality.excess import LEAST_USUAL, THRESHOLD, chance_to_fire, excess


@pytest.mark.parametrize(("usual", "requests"), [(0.0, 300), (0.005, 300), (0.02, 500), (0.05, 900)])
def test_failures_of_five_percent_are_seen_within_the_requests_that_the_documentation_says(
    usual: float, requests: int
) -> None:
    rate = usual + 0.05 * (1 - usual)
    assert chance_to_fire(requests, rate, usual) >= 0.95


@pytest.mark.parametrize("usual", [0.005, 0.01, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("requests", [1, 10, 50, 200, 1000, 3000])
def test_what_is_usual_fires_in_less_than_one_window_of_a_thousand(usual: float, requests: int) -> None:
    assert chance_to_fire(requests, usual, usual) < 0.001


def test_few_failures_never_fire() -> None:
    assert all(excess(4, n, 0.0) <= THRESHOLD for n in range(4, 2000))
    assert excess(5, 5, 0.0) > THRESHOLD


def test_a_share_that_is_next_to_nothing_counts_as_little() -> None:
    assert excess(10, 100, 0.0) == excess(10, 100, LEAST_USUAL)
    assert excess(2, 400, 0.0) == pytest.approx(0)


def test_the_chance_is_that_of_simulated_windows() -> None:
    chosen = random.Random(1)
    fired = sum(excess(sum(chosen.random() < 0.05 for _ in range(150)), 150, 0.005) > THRESHOLD for _ in range(400))
    assert fired / 400 == pytest.approx(chance_to_fire(150, 0.05, 0.005), abs=0.1)


def test_certain_rates_have_certain_outcomes() -> None:
    assert chance_to_fire(100, 0.0, 0.01) == 0
    assert chance_to_fire(100, 1.0, 0.01) == 1
