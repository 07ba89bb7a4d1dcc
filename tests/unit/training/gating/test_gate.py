"""The gate's verdicts."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.gating.runs import make_run
from training.errors import GateRefused, PolicyInvalid
from training.evaluation.types import SuiteRun
from training.gating.comparison import Outcome
from training.gating.gate import decide
from training.gating.policy import GatePolicy, MetricRule
from training.gating.power import fewest_cases


def _scores(right: int, count: int) -> list[float]:
    return [1.0] * right + [0.0] * (count - right)


def _rule(kind: str, margin: float) -> GatePolicy:
    return GatePolicy.model_validate({"metrics": {"exact": {"kind": kind, "margin": margin}}})


def test_a_clearly_better_candidate_passes_an_improvement_gate() -> None:
    verdict = decide(
        make_run({"exact": _scores(180, 200)}, version="triage@2"),
        make_run({"exact": _scores(150, 200)}),
        _rule("improvement", 0.05),
    )

    assert verdict.passed
    assert verdict.comparisons[0].difference.mean == pytest.approx(0.15)
    assert verdict.comparisons[0].difference.lower > 0.05
    assert "better by more than 0.05" in verdict.reason
    assert (len(verdict.flips), verdict.flips[0].gained) == (30, True)


def test_a_clearly_worse_candidate_fails() -> None:
    verdict = decide(
        make_run({"exact": _scores(120, 200)}), make_run({"exact": _scores(150, 200)}), _rule("non_inferiority", 0.05)
    )

    assert verdict.outcome is Outcome.FAILED
    assert "shown not to be worse by less than 0.05" in verdict.reason


def test_too_few_cases_are_undecided_and_say_how_many_are_needed() -> None:
    verdict = decide(
        make_run({"exact": _scores(36, 40)}), make_run({"exact": _scores(36, 40)}), _rule("non_inferiority", 0.05)
    )

    assert (verdict.outcome, verdict.passed) == (Outcome.UNDECIDED, False)
    assert f"about {verdict.comparisons[0].cases_needed} cases" in verdict.reason
    assert (verdict.comparisons[0].cases_needed or 0) > 40


def test_nothing_passes_with_fewer_cases_than_the_policy_asks_for() -> None:
    policy = GatePolicy(metrics={"exact": MetricRule(kind="improvement", margin=0.0)}, min_cases=100)
    verdict = decide(make_run({"exact": _scores(50, 60)}), make_run({"exact": _scores(20, 60)}), policy)

    assert verdict.outcome is Outcome.UNDECIDED
    assert "the policy asks for 100" in verdict.reason


def test_a_run_that_could_have_shown_it_and_does_not_fails() -> None:
    current = [1.0] * 450 + [0.0] * 50
    candidate = [0.0] * 30 + [1.0] * 430 + [0.0] * 40
    verdict = decide(make_run({"exact": candidate}), make_run({"exact": current}), _rule("non_inferiority", 0.05))

    assert verdict.outcome is Outcome.FAILED
    assert "although" in verdict.reason
    assert verdict.comparisons[0].power >= 0.8


def test_every_metric_must_pass() -> None:
    """A candidate may not buy accuracy with broken JSON."""
    current = make_run({"exact": _scores(150, 200), "json_valid": _scores(200, 200)})
    candidate = make_run({"exact": _scores(190, 200), "json_valid": _scores(180, 200)})
    policy = GatePolicy(metrics={"exact": MetricRule(kind="improvement", margin=0.05), "json_valid": MetricRule()})

    verdict = decide(candidate, current, policy)

    assert [one.outcome for one in verdict.comparisons] == [Outcome.PASSED, Outcome.FAILED]
    assert verdict.outcome is Outcome.FAILED


def test_without_rules_the_primary_metric_must_not_be_inferior() -> None:
    verdict = decide(make_run({"exact": _scores(290, 300)}), make_run({"exact": _scores(290, 300)}), GatePolicy())

    assert [(one.metric, one.threshold) for one in verdict.comparisons] == [("exact", -0.05)]
    assert verdict.passed


def test_graded_metrics_are_bootstrapped_the_same_way_each_time() -> None:
    rng = np.random.default_rng(1)
    current = rng.beta(6, 2, 150)
    candidate = np.clip(current + rng.normal(0.06, 0.05, 150), 0, 1)
    runs = make_run({"field_f1": candidate.tolist()}), make_run({"field_f1": current.tolist()})
    policy = GatePolicy(metrics={"field_f1": MetricRule(kind="improvement", margin=0.0)})

    first, second = decide(*runs, policy), decide(*runs, policy)

    assert (first.passed, first.comparisons[0].method, first.comparisons[0].mcnemar) == (True, "bootstrap", None)
    assert first.to_json() == second.to_json()


def test_repeats_of_a_case_count_as_one_case() -> None:
    run = make_run({"exact": [1.0, 0.0] * 60}, case_ids=[f"case-{number // 2}" for number in range(120)])
    verdict = decide(run, run, GatePolicy(metrics={"exact": MetricRule(margin=0.1)}))

    assert (verdict.comparisons[0].cases, verdict.comparisons[0].method) == (60, "bootstrap")
    assert verdict.flips == ()


def test_flips_hold_both_answers_losses_first() -> None:
    current = make_run({"exact": [1.0, 0.0, 1.0, 1.0] * 20}, answers=["old"] * 80)
    candidate = make_run({"exact": [1.0, 1.0, 0.0, 1.0] * 20}, answers=["new"] * 79 + ["x" * 10_000])

    flips = decide(candidate, current, GatePolicy()).flips

    assert [flip.gained for flip in flips] == [False] * 20 + [True] * 20
    assert {(flip.candidate_answer, flip.current_answer) for flip in flips} == {("new", "old")}


def test_long_answers_are_cut_and_tool_calls_are_shown() -> None:
    current, candidate = make_run({"exact": [1.0] * 40}), make_run({"exact": [0.0] * 40}, answers=["y" * 9000] * 40)

    assert len(decide(candidate, current, GatePolicy()).flips[0].candidate_answer) < 4100


def test_a_verdict_is_json() -> None:
    verdict = decide(make_run({"exact": _scores(20, 40)}), make_run({"exact": _scores(30, 40)}), GatePolicy())
    data = json.loads(json.dumps(verdict.to_json()))

    assert (data["passed"], data["outcome"]) == (False, "failed")
    assert len(data["flips"]) == 10
    assert data["policy"]["alpha"] == 0.05


# Refusals


def test_runs_of_different_suites_are_refused() -> None:
    with pytest.raises(GateRefused, match="run both on the same suite"):
        decide(make_run({"exact": [1.0] * 40}, digest="a"), make_run({"exact": [1.0] * 40}, digest="b"), GatePolicy())


def test_a_run_of_several_versions_is_refused() -> None:
    run = make_run({"exact": [1.0] * 50})
    mixed = dataclasses.replace(run, record={"versions": {"triage@1": 30, "triage@2": 20}})
    same = dataclasses.replace(run, record={"versions": {"triage@1": 50}})
    for pair in ((mixed, same), (same, mixed)):
        with pytest.raises(GateRefused, match=r"several versions: triage@1 \(30\), triage@2 \(20\)"):
            decide(*pair, GatePolicy())
    assert decide(same, same, GatePolicy()).comparisons


def test_an_unfinished_run_is_refused() -> None:
    with pytest.raises(GateRefused, match="candidate run lacks 2 of the other's cases: case-38, case-39"):
        decide(make_run({"exact": [1.0] * 38}), make_run({"exact": [1.0] * 40}), GatePolicy())


def test_one_case_is_no_comparison() -> None:
    with pytest.raises(GateRefused, match="at least two"):
        decide(make_run({"exact": [1.0]}), make_run({"exact": [1.0]}), GatePolicy())


def test_an_unknown_metric_is_refused_with_those_that_there_are() -> None:
    run = make_run({"exact": [1.0] * 40, "regex": [1.0] * 40})

    with pytest.raises(GateRefused, match="no metric `f1`; its metrics: exact, regex"):
        decide(run, run, GatePolicy(metrics={"f1": MetricRule()}))


def test_a_run_that_the_endpoint_broke_is_not_judged() -> None:
    with pytest.raises(GateRefused, match=r"3 of 100 requests of the candidate run have no answer.*connection lost"):
        decide(make_run({"exact": [1.0] * 100}, errors=3), make_run({"exact": [1.0] * 100}), GatePolicy())


def test_a_few_errors_count_against_the_version_that_made_them() -> None:
    candidate = make_run({"exact": [0.0] + [1.0] * 99}, errors=1)
    verdict = decide(candidate, make_run({"exact": [1.0] * 100}), GatePolicy())

    assert verdict.candidate.errors == 1
    assert verdict.flips[0].candidate_answer == "(no answer: connection lost)"


def test_cases_without_a_verdict_of_the_judge_are_left_out_if_they_are_few() -> None:
    def run(verdicts: int) -> SuiteRun:
        whole = make_run({"judge": [1.0] * 200})
        results = [
            dataclasses.replace(one, scores={} if n >= verdicts else one.scores) for n, one in enumerate(whole.results)
        ]
        return dataclasses.replace(whole, results=tuple(results))

    assert decide(run(198), run(199), GatePolicy()).comparisons[0].cases == 198
    with pytest.raises(GateRefused, match="only 190 of 200 cases have a value of `judge` in both runs"):
        decide(run(190), run(200), GatePolicy())


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_values_that_are_no_scores_are_refused(value: float) -> None:
    with pytest.raises(GateRefused, match=r"outside \[0, 1\]"):
        decide(make_run({"exact": [value] + [1.0] * 39}), make_run({"exact": [1.0] * 40}), GatePolicy())


# Policies


def test_a_policy_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("alpha: 0.01\nmetrics:\n  exact: {kind: improvement, margin: 0.02}\n", encoding="utf-8")

    policy = GatePolicy.load(path)

    assert policy.alpha == 0.01
    assert policy.metrics["exact"].threshold == 0.02
    assert policy.metrics["exact"].truth == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("metrics: {exact: {margin: 0}}", "`metrics.exact`: non-inferiority needs a margin above 0"),
        ("metrics: {exact: {kind: improvement, margin: 0.1, assumed: 0.1}}", "no number of cases"),
        ("alfa: 0.1", "`alfa`: unknown key"),
        ("- 1", "must be a mapping"),
        ("a: [", "cannot read"),
        ("alpha: 0.7", "`alpha`"),
    ],
)
def test_a_policy_that_asks_for_what_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(PolicyInvalid, match=problem):
        GatePolicy.load(path)


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="cannot read"):
        GatePolicy.load(tmp_path / "none.yaml")


# Simulated truths; benchmarks.gate has many more


@pytest.mark.parametrize(("loss", "win"), [(0.05, 0.0), (0.15, 0.1)])
def test_candidates_at_the_boundary_seldom_pass(loss: float, win: float) -> None:
    rng = np.random.default_rng(31)
    passed = 0
    for _ in range(100):
        answers = rng.choice(3, size=120, p=[loss, win, 1 - loss - win])
        current = (answers != 1).astype(float)
        candidate = (answers != 0).astype(float)
        passed += decide(
            make_run({"exact": candidate.tolist()}), make_run({"exact": current.tolist()}), GatePolicy()
        ).passed

    assert passed <= 0.05 * 100 + 2 * np.sqrt(100 * 0.05 * 0.95)


def test_the_power_that_a_verdict_states_is_the_share_of_good_candidates_that_pass() -> None:
    rng = np.random.default_rng(37)
    passed, stated = [], []
    for _ in range(80):
        answers = rng.choice(3, size=fewest_cases(0.05, 0.05) * 4, p=[0.04, 0.04, 0.92])
        verdict = decide(
            make_run({"exact": (answers != 0).astype(float).tolist()}),
            make_run({"exact": (answers != 1).astype(float).tolist()}),
            GatePolicy(),
        )
        passed.append(verdict.passed)
        stated.append(verdict.comparisons[0].power)

    assert np.mean(stated) == pytest.approx(np.mean(passed), abs=0.12)
