"""The gate: may a candidate take the place of the current version? Two runs of one suite in, one verdict out.

Every metric that the policy names must show what its rule asks for. A candidate that is unfit by any one of them passes
only if that one test errs, so each is held at ``alpha`` and no correction is needed: the intersection-union test
(Berger, Technometrics 24, 1982). Power is what several metrics cost: all of them must succeed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.errors import GateRefused
from training.evaluation.types import Answer, SuiteRun
from training.gating.comparison import Comparison, Outcome, compare
from training.gating.policy import GatePolicy

_LONGEST_TEXT = 4_000
"""Characters of an answer that a verdict keeps."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Flip:
    """A case that the two versions do not do equally well."""

    case_id: str
    metric: str
    candidate: float
    """The candidate's value, the mean over repeats."""
    current: float
    candidate_answer: str
    """What the candidate said, at its first repeat."""
    current_answer: str

    @property
    def gained(self) -> bool:
        """Whether the candidate does better."""
        return self.candidate > self.current


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of the two runs."""

    model: str
    version: str | None
    errors: int
    """Requests without an answer; they score 0."""

    @property
    def name(self) -> str:
        """The version where it is known, else what was asked for."""
        return self.version or self.model


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, and why."""

    outcome: Outcome
    reason: str
    """A line for each metric."""
    suite: str
    suite_digest: str
    candidate: Contestant
    current: Contestant
    comparisons: tuple[Comparison, ...]
    flips: tuple[Flip, ...]
    """Losses first, the largest first."""
    policy: GatePolicy

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on."""
        return self.outcome is Outcome.PASSED

    def to_json(self) -> dict[str, Any]:
        """Everything, for a catalog or a script."""
        return {
            "outcome": self.outcome.value,
            "passed": self.passed,
            "reason": self.reason,
            "suite": self.suite,
            "suite_digest": self.suite_digest,
            "candidate": asdict(self.candidate),
            "current": asdict(self.current),
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "flips": [asdict(flip) for flip in self.flips],
            "policy": self.policy.model_dump(mode="json"),
        }


def decide(candidate: SuiteRun, current: SuiteRun, policy: GatePolicy) -> Verdict:
    """Compare two runs of the same suite, case by case.

    Raises:
        GateRefused: they are not of the same suite and cases, lack a metric, have too many errors, or one of them has
            answers of several versions.
    """
    _check_suites(candidate, current)
    for name, run in (("candidate", candidate), ("current", current)):
        _check_version(name, run)
        check_errors(name, run, policy.max_errors)
    rules = policy.rules(current.primary)
    values = {metric: _paired_values(candidate, current, metric, policy.max_errors) for metric in rules}
    comparisons = tuple(compare(metric, rule, *values[metric], policy) for metric, rule in rules.items())
    outcomes = {comparison.outcome for comparison in comparisons}
    outcome = next(one for one in (Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED) if one in outcomes)
    return Verdict(
        outcome=outcome,
        reason="\n".join(f"{one.metric}: {one.outcome}, {one.reason}" for one in comparisons),
        suite=current.suite,
        suite_digest=current.suite_digest,
        candidate=_contestant(candidate),
        current=_contestant(current),
        comparisons=comparisons,
        flips=tuple(flip for metric in rules for flip in _flips(metric, *values[metric], candidate, current)),
        policy=policy,
    )


def _check_suites(candidate: SuiteRun, current: SuiteRun) -> None:
    if candidate.suite_digest != current.suite_digest:
        raise GateRefused(
            f"the candidate ran suite {candidate.suite} ({candidate.suite_digest[:12]}), the current version "
            f"{current.suite} ({current.suite_digest[:12]}): run both on the same suite"
        )
    ours, theirs = ({result.case_id for result in run.results} for run in (candidate, current))
    for name, missing in (("candidate", theirs - ours), ("current", ours - theirs)):
        if missing:
            shown = ", ".join(sorted(missing)[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            raise GateRefused(f"the {name} run lacks {len(missing)} of the other's cases: {shown}; finish it first")
    if len(ours) < 2:
        raise GateRefused(f"the runs have {len(ours)} cases; a comparison needs at least two")


def _check_version(name: str, run: SuiteRun) -> None:
    versions = run.record.get("versions")
    if isinstance(versions, Mapping) and len(versions) > 1:
        shown = ", ".join(f"{version or 'none named'} ({count})" for version, count in versions.items())
        raise GateRefused(
            f"the {name} run has answers of several versions: {shown}; run the suite against one version by its name"
        )


def check_errors(name: str, run: SuiteRun, most: float) -> None:
    """Raises GateRefused where more than the share ``most`` of the requests of the run ``name`` have no answer."""
    errors = [result for result in run.results if result.answer.error is not None]
    if len(errors) > most * len(run.results):
        first = errors[0]
        raise GateRefused(
            f"{len(errors)} of {len(run.results)} requests of the {name} run have no answer, more than "
            f"{most:.1%}: first case {first.case_id}, {first.answer.error}"
        )


def _paired_values(
    candidate: SuiteRun, current: SuiteRun, metric: str, most: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Both runs' values of the cases that have one in both: a judge may have given no verdict on a few."""
    ours, theirs = _values("candidate", candidate, metric), _values("current", current, metric)
    cases = {result.case_id for result in current.results}
    ids = [one for one in theirs if one in ours]
    if len(ids) < 2 or len(cases) - len(ids) > most * len(cases):
        raise GateRefused(f"only {len(ids)} of {len(cases)} cases have a value of `{metric}` in both runs")
    return {one: ours[one] for one in ids}, {one: theirs[one] for one in ids}


def _values(name: str, run: SuiteRun, metric: str) -> dict[str, float]:
    try:
        values = run.values(metric)
    except KeyError:
        known = ", ".join(sorted({one for result in run.results for one in result.scores})) or "none"
        raise GateRefused(f"the {name} run has no metric `{metric}`; its metrics: {known}") from None
    # Written so that a value that is not a number is outside too.
    outside = next((one for one, value in values.items() if not 0 <= value <= 1), None)
    if outside is not None:
        raise GateRefused(f"the {name} run's `{metric}` of case {outside} is {values[outside]}, outside [0, 1]")
    return values


def _contestant(run: SuiteRun) -> Contestant:
    return Contestant(run.model, run.version, sum(result.answer.error is not None for result in run.results))


def _flips(
    metric: str, ours: Mapping[str, float], theirs: Mapping[str, float], candidate: SuiteRun, current: SuiteRun
) -> list[Flip]:
    our_answers, their_answers = _first_answers(candidate), _first_answers(current)
    flips = [
        Flip(one, metric, ours[one], theirs[one], _text(our_answers[one]), _text(their_answers[one]))
        for one in theirs
        if ours[one] != theirs[one]
    ]
    return sorted(flips, key=lambda flip: (flip.gained, -abs(flip.candidate - flip.current)))


def _first_answers(run: SuiteRun) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for result in run.results:
        answers.setdefault(result.case_id, result.answer)
    return answers


def _text(answer: Answer) -> str:
    if answer.error is not None:
        return f"(no answer: {answer.error})"[:_LONGEST_TEXT]
    calls = [json.dumps(call, ensure_ascii=False) for call in answer.tool_calls]
    text = "\n".join([answer.text, *calls] if answer.text else calls)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} [...]"
