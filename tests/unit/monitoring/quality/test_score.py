"""One score of a version, and its parts."""

import json
import random
from typing import Any

import pytest

from monitoring.quality.comparison import compare
from monitoring.quality.options import WEIGHTS, QualityOptions, ScoreOptions
from monitoring.quality.score import QualityScore, wilson
from monitoring.quality.types import NAMES, Check, graded
from monitoring.quality.verdicts import feedback, judge


def _score(rates: dict[str, float], requests: int = 1000, seed: int = 1, **options: Any) -> QualityScore:
    """Of requests that are bad by each check with its probability."""
    chosen, score = random.Random(seed), QualityScore(ScoreOptions(**options))
    for number in range(requests):
        score.add([Check(name, float(chosen.random() < rate)) for name, rate in rates.items()], float(number))
    return score


def _value(score: QualityScore) -> float:
    value = score.value()
    assert value is not None
    return value


def test_a_version_without_failures_has_the_best_score() -> None:
    score = _score({"parse": 0, "refusal": 0})
    assert score.value() == 1
    interval = score.interval()
    assert interval is not None
    assert interval[0] < 1 == interval[1]


def test_there_is_no_score_before_there_are_enough_requests() -> None:
    score = _score({"parse": 0.5}, requests=19)
    assert (score.value(), score.interval()) == (None, None)
    assert score.parts().keys() == {"parse"}
    score.add([Check("parse", 0.0)], 20.0)
    assert score.value() is not None
    assert _score({}, requests=50).value() is None


def test_a_failure_costs_the_same_however_many_checks_there_are() -> None:
    alone = _score({"parse": 0.05})
    among = QualityScore()
    chosen = random.Random(1)
    quiet = [Check(name, 0.0) for name in NAMES if name != "parse"]
    for number in range(1000):
        among.add([Check("parse", float(chosen.random() < 0.05)), *quiet], float(number))
    assert _value(among) == pytest.approx(_value(alone))
    assert _value(alone) == pytest.approx(1 - alone.parts()["parse"].badness)


def test_a_weight_is_what_an_answer_loses() -> None:
    score = QualityScore(ScoreOptions(weights={"refusal": 0.2, "language": 0.0}))
    for number in range(30):
        score.add([Check("refusal", 1.0), Check("language", 1.0)], float(number))
    assert _value(score) == pytest.approx(0.8)
    assert score.parts()["language"].badness == pytest.approx(1)


def test_a_verdict_counts_half_after_the_half_life() -> None:
    score = QualityScore(ScoreOptions(half_life=50))
    for number in range(1000):
        score.add([Check("parse", 0.0)], float(number))
    for number in range(50):
        score.add([Check("parse", 1.0)], 1000.0 + number)
    assert score.parts()["parse"].badness == pytest.approx(0.5, abs=1e-5)


def test_what_is_judged_now_and_then_is_not_forgotten_between() -> None:
    score = QualityScore()
    score.add([Check("parse", 0.0)], 0.0)
    score.add_later([judge(0.0)], 1.0)
    for number in range(100_000):
        score.add([Check("parse", 0.0)], float(number))
    part = score.parts()["judge"]
    assert (part.badness, part.verdicts, score.requests) == (1, 1, 100_001)


def test_the_interval_of_a_part_covers_its_rate() -> None:
    covered = 0
    for seed in range(100):
        part = _score({"parse": 0.05}, requests=600, seed=seed).parts()["parse"]
        assert part.low < part.badness < part.high
        covered += part.low <= 0.05 <= part.high
    assert covered >= 88


def test_the_interval_of_a_score_covers_what_it_estimates() -> None:
    truth = (1 - 0.05) * (1 - 0.7 * 0.1)
    covered = 0
    for seed in range(100):
        interval = _score({"parse": 0.05, "refusal": 0.1}, requests=600, seed=seed).interval()
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert covered >= 88


def test_a_score_goes_on_where_it_was() -> None:
    score = _score({"parse": 0.05, "refusal": 0.2})
    again = QualityScore.from_json(json.loads(json.dumps(score.to_json())))
    assert again.value() == score.value()
    assert again.updated_at == 999
    for each in (score, again):
        each.add([Check("parse", 1.0)], 2000.0)
    assert again.to_json() == score.to_json()


def test_a_part_that_there_is_no_more_is_left_out() -> None:
    state = _score({"parse": 0.05}).to_json()
    state["parts"]["vibes"] = [1, 1, 1, 1]
    assert QualityScore.from_json(state).parts().keys() == {"parse"}


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"requests": 1, "updated_at": 0, "parts": []},
        {"requests": 1, "updated_at": 0, "parts": {"parse": [1, 2]}},
        {"requests": 1, "updated_at": 0, "parts": {"parse": [1, 2, 1, 1]}},
        {"requests": 1, "updated_at": 0, "parts": {"parse": [0, 0, 0, 0]}},
        {"requests": 1, "updated_at": 0, "parts": {"parse": [float("nan"), 0, 1, 1]}},
        {"requests": -1, "updated_at": 0, "parts": {}},
        {"requests": "many", "updated_at": 0, "parts": {}},
    ],
)
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (its text is for people)
        QualityScore.from_json(state)


def test_a_worse_canary_is_told_from_its_stable_version_and_why() -> None:
    canary = _score({"parse": 0.1, "refusal": 0.02}, seed=1)
    difference = compare(canary, _score({"parse": 0.0, "refusal": 0.02}, seed=2))
    assert difference is not None
    assert difference.worse
    assert difference.low < difference.value < difference.high < 0
    assert difference.worst() == "parse"


def test_equal_versions_are_rarely_told_apart() -> None:
    rates = {"parse": 0.05, "refusal": 0.02}
    found = [compare(_score(rates, 400, seed), _score(rates, 400, seed + 1000)) for seed in range(100)]
    assert sum(each is not None and each.worse for each in found) <= 8


def test_versions_are_compared_by_what_both_were_checked_for() -> None:
    canary = _score({"parse": 0.0})
    stable = _score({"parse": 0.0, "feedback": 0.5})
    difference = compare(canary, stable)
    assert difference is not None
    assert difference.value == 0
    assert difference.worst() is None
    assert difference.parts.keys() == {"parse"}


def test_there_is_no_comparison_without_common_ground() -> None:
    assert compare(_score({"parse": 0.0}), _score({"refusal": 0.0})) is None
    assert compare(_score({"parse": 0.0}), _score({"parse": 0.0}, requests=5)) is None


def test_a_version_that_always_fails_has_a_score_near_zero_and_an_interval() -> None:
    score = _score({"parse": 1})
    interval = score.interval()
    assert interval is not None
    assert _value(score) < 1e-6
    assert 0 <= interval[0] <= _value(score) < interval[1] < 0.1


def test_every_check_has_a_weight() -> None:
    assert WEIGHTS.keys() == set(NAMES)


@pytest.mark.parametrize(
    "options",
    [{"half_life": 0}, {"fewest": 0}, {"confidence": 1.0}, {"weights": {"vibes": 1.0}}, {"weights": {"parse": 1.5}}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (its text is for people)
        ScoreOptions(**options)


def test_a_check_that_there_is_not_cannot_be_disabled_or_made() -> None:
    with pytest.raises(ValueError, match="vibes"):
        QualityOptions(disabled=frozenset({"vibes"}))
    with pytest.raises(ValueError, match="vibes"):
        Check("vibes", 0.0)
    with pytest.raises(ValueError, match="badness"):
        Check("parse", 1.1)


def test_grades_and_judgments_become_badness() -> None:
    assert [graded(value, 2, 4) for value in (1, 3, 5)] == [0, 0.5, 1]
    assert [graded(value, 4, 2) for value in (1, 3, 5)] == [1, 0.5, 0]
    assert [judge(value).badness for value in (0, 0.5, 1)] == [1, 0.5, 0]
    assert [feedback(value).badness for value in (0, 0.25, 1)] == [1, 0.75, 0]
    for verdict in (judge, feedback):
        with pytest.raises(ValueError, match="badness"):
            verdict(1.5)


def test_wilson_intervals_are_those_of_the_books() -> None:
    assert wilson(0.1, 50, 0.95) == pytest.approx((0.0435, 0.2136), abs=1e-3)
    assert wilson(0.0, 10, 0.95)[0] == 0
    assert wilson(1.0, 10, 0.95)[1] == 1
