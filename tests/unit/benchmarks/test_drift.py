"""The measurements of drift detectors, in small, and the traffic that they are made on."""

import numpy as np
import pytest

from benchmarks import drift_trials
from benchmarks.drift import _wilson
from benchmarks.drift_data import BANKING, CLINC, OUT_OF_SCOPE, REFERENCE, SCENARIOS, Prompts, Scenario, drawn
from benchmarks.drift_trials import TRENDS, by_chance, cost, days_until_found, null_windows, trial
from monitoring.drift.options import SIGNALS

_INTENTS, _EACH = 30, 400


def _prompts(first: int) -> Prompts:
    """Sets whose vectors say which prompt it is, and whose tokens which intent."""
    intents = np.repeat(np.arange(first, first + _INTENTS), _EACH)
    return Prompts(
        vectors=np.stack([intents, np.arange(len(intents))], axis=1).astype(np.float32),
        tokens=intents,
        intents=np.array([f"intent {intent}" for intent in intents.tolist()]),
        languages=np.full(len(intents), "en"),
    )


SETS = {CLINC: _prompts(0), BANKING: _prompts(100), OUT_OF_SCOPE: _prompts(200)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_a_twentieth_of_the_live_requests_is_what_changes(scenario: Scenario) -> None:
    reference, live = drawn(scenario, SETS, np.random.default_rng(1))

    assert (len(reference), len(live)) == (REFERENCE, scenario.requests)
    known = {request.prompt_tokens for request in reference}
    asked = [request.prompt_tokens for request in live]
    changed = round(scenario.requests * 0.05)
    if scenario.new == "surge":
        assert set(asked) <= known
        assert max(np.bincount(np.array(asked) % 100)) >= changed
    else:
        assert sum(intent not in known for intent in asked) == changed


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_no_prompt_is_in_both_windows(scenario: Scenario) -> None:
    windows = drawn(scenario, SETS, np.random.default_rng(2))

    known, asked = ({(one.prompt_tokens, one.embedding[1]) for one in window if one.embedding is not None}
                    for window in windows)  # fmt: skip
    assert not known & asked
    assert len(asked) == scenario.requests


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert _wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    assert _wilson(1.0, 50)[1] == pytest.approx(1.0)


def test_every_measurement_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_trials, "_sets", SETS)

    assert len(null_windows((CLINC, 1, 1))) == 1
    assert set(trial((SCENARIOS[0], 1))["p_values"]) == set(SIGNALS)
    assert days_until_found((TRENDS[0], 1, 1)) in (1, 2)
    spent = cost(None)
    assert spent["cpu_s_per_1000"] >= spent["look_at_1000_cpu_s"]
    assert 0 < spent["held_mib"] < spent["stated_memory_mib"]


def test_chance_finds_something_the_sooner_the_longer_one_looks() -> None:
    assert by_chance(0) == 0
    # Five of eleven parts of a hundredth a day.
    assert by_chance(60) == pytest.approx(60 * 0.01 * 5 / 11, rel=0.15)
