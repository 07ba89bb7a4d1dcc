"""From counts to what the tests say of them."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from adapters.rollout_types import RoleCounts, SampleScore
from adapters.types import Alias
from serving.config import RolloutSettings
from serving.life.controller import sequential_tests
from serving.life.evidence import Comparisons, Evidence
from serving.life.latency import FIRST_TOKEN, WHOLE, above, bucket_of, quantile_bucket, upper_edge

OLD, NEW = "triage@11111111", "triage@22222222"
CANARY = Alias("triage", stable=OLD, canary=NEW, canary_share=0.1)


class Recorder:
    """A test that remembers what it was given."""

    def __init__(self, alpha: float, margin: float, given: list[list[int]] | None = None) -> None:
        self.alpha, self.margin = alpha, margin
        self.given = given or []
        self.worse = self.not_worse = False
        self.p_value = 1.0

    def update(self, candidate_bad: int, candidate_n: int, current_bad: int, current_n: int) -> None:
        self.given.append([candidate_bad, candidate_n, current_bad, current_n])

    def discard(self) -> None:
        self.given.append([])

    def interval(self) -> tuple[float, float]:
        return -1.0, 1.0

    def to_json(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "margin": self.margin, "given": [list(one) for one in self.given]}


class MeanRecorder:
    """The same for scores."""

    def __init__(self, alpha: float, margin: float, given: list[list[list[float]]] | None = None) -> None:
        self.alpha, self.margin = alpha, margin
        self.given = given or []
        self.worse = self.not_worse = False
        self.p_value = 1.0

    def update(self, candidate: Iterable[float], current: Iterable[float]) -> None:
        self.given.append([list(candidate), list(current)])

    def discard(self) -> None:
        self.given.append([])

    def interval(self) -> tuple[float, float]:
        return -1.0, 1.0

    def to_json(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "margin": self.margin, "given": list(self.given)}


class Bench:
    """Makes tests and remembers them."""

    def __init__(self) -> None:
        self.made: list[Recorder] = []
        self.means: list[MeanRecorder] = []

    @property
    def tests(self) -> Comparisons:
        return Comparisons(self._make, self._read, self._make_mean, self._read_mean)

    def _make(self, alpha: float, margin: float, given: list[list[int]] | None = None) -> Recorder:
        self.made.append(Recorder(alpha, margin, given))
        return self.made[-1]

    def _read(self, data: dict[str, Any]) -> Recorder:
        return self._make(data["alpha"], data["margin"], data["given"])

    def _make_mean(self, alpha: float, margin: float, given: Any = None) -> MeanRecorder:
        self.means.append(MeanRecorder(alpha, margin, given))
        return self.means[-1]

    def _read_mean(self, data: dict[str, Any]) -> MeanRecorder:
        return self._make_mean(data["alpha"], data["margin"], data["given"])


def policy(**signals: Any) -> RolloutSettings:
    none: dict[str, Any] = dict.fromkeys(("errors", "contract", "refusal", "incomplete", "slow", "feedback"))
    return RolloutSettings.model_validate({"signals": none | signals, "alpha": 0.06, "latency_requests": 10})


def counts(n: int = 0, bad: int = 0, signal: str = "errors", **seconds: dict[int, int]) -> RoleCounts:
    return RoleCounts({signal: [n, bad]}, seconds)


def test_the_parts_of_alpha_are_the_whole() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={"margin": 0.0}, contract={"weight": 2.0}), bench.tests)
    assert [round(reading.alpha, 6) for reading in evidence.readings()] == [0.02, 0.04]
    assert sum(test.alpha for test in bench.made) == pytest.approx(0.06)


def test_a_test_gets_each_count_once() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={}), bench.tests)
    totals = {"canary": counts(10, 1), "stable": counts(50, 2), "shadow": counts(5, 5)}
    evidence.fold(totals)
    evidence.fold(totals)
    evidence.fold(totals | {"canary": counts(12, 1)})
    assert bench.made[0].given == [[6, 15, 2, 50], [0, 2, 0, 0]]


def test_counts_that_shrink_are_not_taken_back() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={}), bench.tests)
    evidence.fold({"canary": counts(10, 1)})
    evidence.fold({"canary": counts(8, 0)})
    evidence.fold({"canary": counts(11, 1)})
    assert bench.made[0].given == [[1, 10, 0, 0], [0, 1, 0, 0]]


def test_another_process_goes_on_where_the_first_one_was() -> None:
    bench = Bench()
    settings = policy(errors={}, slow={})
    evidence = Evidence(settings, bench.tests)
    totals = {"canary": counts(10, 1, whole={3: 4}), "stable": counts(50, 2, whole={5: 20})}
    evidence.fold(totals)
    stored = json.loads(json.dumps(evidence.to_json()))
    later = Evidence(settings, bench.tests, stored)
    assert later.to_json() == stored
    later.fold(totals | {"stable": counts(51, 2, whole={5: 20, 9: 1})})
    assert bench.made[-2].given[-1] == [0, 0, 0, 1]
    assert bench.made[-1].given == [[0, 0, 1, 1]]


def test_slow_is_what_is_slower_than_the_stable_version_was() -> None:
    bench = Bench()
    evidence = Evidence(policy(slow={}), bench.tests)
    evidence.fold({"canary": counts(whole={90: 5}), "stable": counts(whole={10: 9})})
    assert bench.made[0].given == []  # too few to take a threshold from
    evidence.fold({"canary": counts(whole={90: 6}), "stable": counts(whole={10: 19, 20: 1})})
    assert bench.made[0].given == []  # what gave the threshold is not tested by it
    evidence.fold({"canary": counts(whole={90: 8, 10: 1}), "stable": counts(whole={10: 20, 20: 2})})
    assert bench.made[0].given == [[2, 3, 1, 2]]
    assert f"whole above {upper_edge(10):.3g} s" in str(evidence.readings()[0])


def test_streams_and_whole_answers_have_thresholds_of_their_own() -> None:
    bench = Bench()
    evidence = Evidence(policy(slow={}), bench.tests)
    evidence.fold({"stable": counts(first_token={10: 10}, whole={50: 10})})
    evidence.fold({"canary": counts(first_token={11: 1}, whole={50: 1}), "stable": counts(first_token={10: 10})})
    assert bench.made[0].given == [[1, 2, 0, 0]]


def test_a_shadows_latency_says_nothing() -> None:
    bench = Bench()
    evidence = Evidence(policy(slow={}), bench.tests)
    evidence.fold({"stable": counts(whole={10: 10})})
    evidence.fold({"stable": counts(whole={10: 10}), "shadow": counts(whole={99: 10})})
    assert bench.made[0].given == []


def test_what_is_counted_before_the_alias_stands_or_while_it_changes_is_passed_over() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={}), bench.tests)
    stands = [Alias("triage", stable=OLD), CANARY, CANARY, replace(CANARY, canary_share=0.5)]
    for number, alias in enumerate([*stands, stands[-1]], start=1):
        evidence.enter(alias, NEW)
        evidence.fold({"canary": counts(10 * number, number), "stable": counts(100 * number, number)})
    # Begun, at a tenth, [counted], at a half, [counted].
    assert bench.made[0].given == [[], [], [1, 10, 1, 100], [], [1, 10, 1, 100]]
    assert str(evidence.readings()[0]).startswith("errors 2/20 against 2/200")


def test_a_shadow_compares_what_copies_can_have() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={}, slow={}, feedback={}), bench.tests)
    shadow = Alias("triage", stable=OLD, shadow=NEW)
    for number in range(3):
        judged = {"errors": [20 * number, 0], "feedback": [20 * number, number]}
        evidence.enter(shadow, NEW)
        evidence.fold({"shadow": counts(20 * number), "stable": RoleCounts(judged, {WHOLE: {10: 20 * number}})})
    given = {reading.signal: test.given for reading, test in zip(evidence.readings(), bench.made, strict=True)}
    assert given == {"errors": [[], [0, 20, 0, 20], [0, 20, 0, 20]], "slow": [[]], "feedback": [[]]}
    assert [reading.silent for reading in evidence.readings()] == [False, True, True]


def test_another_process_knows_where_the_alias_stood() -> None:
    bench, settings = Bench(), policy(errors={})
    evidence = Evidence(settings, bench.tests)
    evidence.enter(CANARY, NEW)
    evidence.fold({"stable": counts(100)})
    stored = json.loads(json.dumps(evidence.to_json()))
    later = Evidence(settings, bench.tests, stored)
    later.enter(CANARY, NEW)
    later.fold({"canary": counts(5), "stable": counts(110)})
    assert bench.made[-1].given == [[], [0, 5, 0, 10]]


def test_drift_between_shadow_and_canary_is_no_verdict() -> None:
    """While the shadow ran, a tenth of all judgments was bad; then half of them, of either version."""
    settings = policy(feedback={})
    evidence = Evidence(settings, sequential_tests())
    shadow, totals = Alias("triage", stable=OLD, shadow=NEW), {"stable": counts(4000, 400, "feedback")}
    for _ in range(2):
        evidence.enter(shadow, NEW)
        evidence.fold(totals)
    for number in range(1, 4):
        evidence.enter(CANARY, NEW)
        evidence.fold(
            {
                "canary": counts(20 * number, 10 * number, "feedback"),
                "stable": counts(4000 + 20 * number, 400 + 10 * number, "feedback"),
            }
        )
    (reading,) = evidence.readings()
    assert (reading.worse, reading.candidate_n, reading.current_n) == (False, 40, 40)


def test_the_real_tests_find_a_version_that_breaks_a_fifth_of_its_answers() -> None:
    settings = RolloutSettings()
    evidence = Evidence(settings, sequential_tests())
    for hundred in range(1, 6):
        evidence = Evidence(settings, sequential_tests(), json.loads(json.dumps(evidence.to_json())))
        bad, good = counts(100 * hundred, 20 * hundred, "contract"), counts(100 * hundred, 0, "contract")
        evidence.fold({"canary": bad, "stable": good})
    worse = [reading.signal for reading in evidence.readings() if reading.worse]
    assert worse == ["contract"]


def test_a_reading_says_its_numbers() -> None:
    evidence = Evidence(policy(contract={"margin": 0.1}), Bench().tests)
    evidence.fold({"canary": counts(20, 3, "contract"), "stable": counts(80, 1, "contract")})
    (reading,) = evidence.readings()
    assert str(reading).startswith("contract 3/20 against 1/80, difference -1.000 to +1.000, p = 1 at alpha 0.06")
    assert reading.to_json()["interval"] == [-1.0, 1.0]


JUDGED = {"judge": {"url": "http://judge/v1", "model": "m", "rubric": "Be right."}}


def score(place: int, role: str, value: float, signal: str = "judge", source: str = "a") -> SampleScore:
    return SampleScore(source, place, role, signal, value)


def test_scores_are_tested_as_badness_each_of_them_once() -> None:
    bench = Bench()
    evidence = Evidence(policy(errors={}, samples=JUDGED), bench.tests)
    mine = [score(1, "canary", 0.25), score(2, "stable", 1.0), score(3, "shadow", 0.5)]
    first = [*mine, score(1, "stable", 0.75, source="b")]
    evidence.fold({}, first)
    evidence.fold({}, first)
    evidence.fold({}, [*first, score(4, "stable", 0.0)])
    assert bench.means[0].given == [[[0.75, 0.5], [0.0, 0.25]], [[], [1.0]]]
    assert evidence.places == {"a": 4, "b": 1}


def test_each_signal_of_samples_has_its_own_scores_and_its_part_of_alpha() -> None:
    bench = Bench()
    both = JUDGED | {"suite": {"file": "suite.yaml", "weight": 2.0}}
    evidence = Evidence(policy(errors={}, samples=both), bench.tests)
    evidence.fold({}, [score(1, "canary", 0.5, "suite"), score(2, "canary", 1.0)])
    suite, judge = bench.means
    assert (suite.given, judge.given) == ([[[0.5], []]], [[[0.0], []]])
    parts = {reading.signal: round(reading.alpha, 6) for reading in evidence.readings()}
    assert parts == {"errors": 0.015, "suite": 0.03, "judge": 0.015}
    assert [reading.signal for reading in evidence.readings() if not reading.awaited] == ["suite", "judge"]


def test_scores_of_another_phase_or_step_are_passed_over() -> None:
    bench = Bench()
    evidence = Evidence(policy(samples=JUDGED), bench.tests)
    stands = [Alias("triage", stable=OLD), CANARY, CANARY, replace(CANARY, canary_share=0.5)]
    changes = []
    for number, alias in enumerate([*stands, stands[-1]]):
        changes.append(evidence.enter(alias, NEW))
        evidence.fold({}, [score(2 * number + 1, "canary", 0.25), score(2 * number + 2, "stable", 1.0)])
    assert changes == [True, True, False, True, False]
    assert bench.means[0].given == [[], [], [[0.75], [0.0]], [], [[0.75], [0.0]]]
    assert evidence.places == {"a": 10}
    assert str(evidence.readings()[0]).startswith("judge 1.5/2 against 0.0/2, ")


def test_a_shadows_scores_count() -> None:
    bench = Bench()
    evidence = Evidence(policy(samples=JUDGED), bench.tests)
    for place in (1, 2):
        evidence.enter(Alias("triage", stable=OLD, shadow=NEW), NEW)
        evidence.fold({}, [score(place, "shadow", 0.5)])
    assert bench.means[0].given == [[], [[0.5], []]]


def test_another_process_goes_on_with_the_scores_where_the_first_one_was() -> None:
    bench = Bench()
    settings = policy(samples=JUDGED)
    evidence = Evidence(settings, bench.tests)
    scores = [score(1, "canary", 0.5), score(2, "stable", 1.0)]
    evidence.fold({}, scores)
    stored = json.loads(json.dumps(evidence.to_json()))
    later = Evidence(settings, bench.tests, stored)
    assert later.to_json() == stored
    later.fold({}, [*scores, score(1, "canary", 0.0, source="b")])
    assert bench.means[-1].given == [[[0.5], [0.0]], [[1.0], []]]
    (reading,) = later.readings()
    assert str(reading).startswith("judge 1.5/2 against 0.0/1, ")


def test_the_real_tests_find_a_version_whose_answers_are_worse() -> None:
    settings = RolloutSettings.model_validate({"signals": {"samples": JUDGED}})
    evidence = Evidence(settings, sequential_tests())
    for place in range(1, 121, 2):
        evidence = Evidence(settings, sequential_tests(), json.loads(json.dumps(evidence.to_json())))
        evidence.fold({}, [score(place, "canary", 0.25 if place % 4 == 1 else 0.75), score(place + 1, "stable", 1.0)])
    (worse,) = (reading for reading in evidence.readings() if reading.worse)
    assert worse.signal == "judge"
    assert worse.interval[0] > 0


def test_buckets_grow_by_a_tenth() -> None:
    assert upper_edge(bucket_of(0.25)) == pytest.approx(0.25, rel=0.1)
    assert upper_edge(bucket_of(0.25)) >= 0.25
    assert bucket_of(0.0) == 0
    assert bucket_of(upper_edge(40)) == 40


def test_the_quantile_is_the_bucket_that_holds_it() -> None:
    histogram = {1: 90, 5: 9, 9: 1}
    assert [quantile_bucket(histogram, q) for q in (0.5, 0.95, 1.0)] == [1, 5, 9]
    assert above(histogram, 5) == 1
    with pytest.raises(ValueError, match="nothing"):
        quantile_bucket({}, 0.5)


def test_the_kinds_of_latency_have_the_names_that_are_stored() -> None:
    assert (FIRST_TOKEN, WHOLE) == ("first_token", "whole")
