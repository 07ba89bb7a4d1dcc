"""What a run comes to: metrics with intervals, noise, slices, labels, the baseline, judges and the worst cases."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.evaluation.baseline import question
from training.evaluation.intervals import (
    Interval,
    Noise,
    interval_of_macro_f1,
    interval_of_mean,
    noise,
    standard_error,
    wilson,
)
from training.evaluation.scorers.classification import Classification, LabelScores, confusion
from training.evaluation.scorers.judge import is_torn
from training.evaluation.suite import Suite
from training.evaluation.types import Case, CaseResult, Json, SuiteRun

MACRO_F1 = "macro_f1"
"""Belongs to all cases together, so that it is in summaries and in no result."""
_WORST = 10
_MOST_CONFUSED = 10


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric over cases; each case counts once however often it was asked."""

    name: str
    mean: float
    interval: Interval
    standard_error: float
    cases: int
    missing: int
    """Answers without the metric: a judge gave no verdict."""
    noise: Noise | None = None


@dataclass(frozen=True, slots=True)
class ClassificationSummary:
    """How labels fare, over every answer."""

    prefix: str
    macro_f1: float
    macro_f1_interval: Interval
    outside: int
    """Answers that are none of the labels, failed ones included; they count as wrong."""
    per_label: tuple[LabelScores, ...]
    confused: tuple[tuple[str, str | None, int], ...]
    """Wanted, said, how often: the most frequent mistakes."""
    confusion: tuple[tuple[str, str | None, int], ...]
    """Every cell that is not 0."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """One case that went badly."""

    case_id: str
    line: int
    value: float
    """Its primary metric."""
    question: str
    expected: str | None
    answer: str
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, for people and for machines."""

    suite: str
    suite_digest: str
    model: str
    version: str | None
    primary: str
    cases: int
    repeats: int
    errors: Mapping[str, int]
    """Why answers are missing, and how many."""
    metrics: tuple[MetricSummary, ...]
    same_text: float | None
    """Share of cases whose repeats are the same text and the same calls; None without repeats."""
    slices: Mapping[str, MetricSummary]
    """The primary metric by tag."""
    classifications: tuple[ClassificationSummary, ...]
    baseline: Json | None
    """As recorded, with the interval of its accuracy."""
    judging: Json | None
    worst: tuple[WorstCase, ...]
    prompt_tokens: int
    completion_tokens: int
    seconds_median: float | None
    """Of one answer."""

    @property
    def primary_metric(self) -> MetricSummary | None:
        """The metric that a gate decides by; None where no case has it."""
        return next((one for one in self.metrics if one.name == self.primary), None)

    def to_json(self) -> Json:
        """For machines."""
        return {"object": "suite.summary", **dataclasses.asdict(self)}


def summarise(suite: Suite, run: SuiteRun) -> Summary:
    """Of a run of this very suite. Raises ValueError where their digests differ."""
    if run.suite_digest != suite.digest:
        raise ValueError(f"the run is of another suite than {suite.name}, or of an earlier state of it")
    by_case = _by_case(run)
    answers = [result.answer for result in run.results]
    times = sorted(answer.seconds for answer in answers if answer.error is None)
    found = [metric for name in suite.metrics if (metric := _metric(name, list(by_case.values()))) is not None]
    return Summary(
        suite=run.suite,
        suite_digest=run.suite_digest,
        model=run.model,
        version=run.version,
        primary=run.primary,
        cases=len(by_case),
        repeats=max(len(results) for results in by_case.values()),
        errors=Counter(answer.error for answer in answers if answer.error is not None),
        metrics=tuple(found),
        same_text=_same_text(by_case),
        slices=_slices(suite, run.primary, by_case),
        classifications=tuple(
            _classification(one.prefix, one.scorer, suite, by_case)
            for one in suite.scorers
            if isinstance(one.scorer, Classification)
        ),
        baseline=_baseline(run),
        judging=_judging(run),
        worst=_worst(suite, run.primary, by_case),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        seconds_median=times[len(times) // 2] if times else None,
    )


def _by_case(run: SuiteRun) -> dict[str, list[CaseResult]]:
    found: dict[str, list[CaseResult]] = {}
    for result in run.results:
        found.setdefault(result.case_id, []).append(result)
    return found


def _metric(name: str, cases: Sequence[Sequence[CaseResult]]) -> MetricSummary | None:
    repeated = [[one.scores[name] for one in results if name in one.scores] for results in cases]
    means = [sum(values) / len(values) for values in repeated if values]
    if not means:
        return None
    missing = sum(map(len, cases)) - sum(map(len, repeated))
    mean = sum(means) / len(means)
    return MetricSummary(
        name, mean, interval_of_mean(means), standard_error(means), len(means), missing, noise(repeated)
    )


def _same_text(by_case: Mapping[str, Sequence[CaseResult]]) -> float | None:
    repeated = [results for results in by_case.values() if len(results) > 1]
    if not repeated:
        return None
    same = [
        len({(one.answer.text, repr(_calls(one)), one.answer.error) for one in results}) == 1 for results in repeated
    ]
    return sum(same) / len(same)


def _calls(result: CaseResult) -> list[object]:
    """Tool calls without their ids, which are drawn anew each time."""
    return [call.get("function") if isinstance(call, dict) else call for call in result.answer.tool_calls]


def _slices(suite: Suite, primary: str, by_case: Mapping[str, Sequence[CaseResult]]) -> dict[str, MetricSummary]:
    tags = sorted({tag for case in suite.cases for tag in case.tags})
    found = {tag: _metric(primary, [by_case[case.id] for case in suite.cases if tag in case.tags]) for tag in tags}
    return {tag: metric for tag, metric in found.items() if metric is not None}


def _classification(
    prefix: str, scorer: Classification, suite: Suite, by_case: Mapping[str, Sequence[CaseResult]]
) -> ClassificationSummary:
    place = {label: index for index, label in enumerate(scorer.labels)}
    observed = [
        [(scorer.wanted(case), scorer.predicted(result.answer)) for result in by_case[case.id]] for case in suite.cases
    ]
    table = confusion([pair for pairs in observed for pair in pairs])
    numbered = [
        [(place[wanted], len(place) if said is None else place[said]) for wanted, said in pairs] for pairs in observed
    ]
    cells = sorted(
        ((wanted, said, count) for (wanted, said), count in table.counts.items()),
        key=lambda cell: (-cell[2], cell[0], cell[1] or ""),
    )
    return ClassificationSummary(
        prefix=prefix,
        macro_f1=table.macro_f1,
        macro_f1_interval=interval_of_macro_f1(numbered, len(place)),
        outside=table.outside,
        per_label=table.per_label,
        confused=tuple([cell for cell in cells if cell[0] != cell[1]][:_MOST_CONFUSED]),
        confusion=tuple(cells),
    )


def _baseline(run: SuiteRun) -> Json | None:
    recorded = run.record.get("baseline")
    if recorded is None:
        return None
    cases = len(recorded["predictions"])
    return {**recorded, "interval": dataclasses.asdict(wilson(recorded["accuracy"] * cases, cases))}


def _judging(run: SuiteRun) -> Json | None:
    verdicts = [one for result in run.results for one in result.verdicts]
    if not verdicts:
        return None
    of_results = [
        [one for one in result.verdicts if one["metric"] == metric]
        for result in run.results
        for metric in sorted({one["metric"] for one in result.verdicts})
    ]
    unread = sum(len(one["replies"]) - (one["value"] is not None) for one in verdicts)
    return {
        "verdicts": len(verdicts),
        "unreadable_replies": unread,
        "without_verdict": sum(one["value"] is None for one in verdicts),
        "contradictions": sum(map(is_torn, of_results)),
        "seconds": sum(one["seconds"] for one in verdicts),
    }


def _worst(suite: Suite, primary: str, by_case: Mapping[str, Sequence[CaseResult]]) -> tuple[WorstCase, ...]:
    ranked: list[tuple[float, float, int, Case, CaseResult]] = []
    for order, case in enumerate(suite.cases):
        worst = min(by_case[case.id], key=lambda one: one.scores.get(primary, 1.0))
        value = worst.scores.get(primary)
        if value is not None and value < 1:
            others = sum(worst.scores.values()) / len(worst.scores)
            ranked.append((value, others, order, case, worst))
    return tuple(
        WorstCase(
            case.id,
            case.line,
            value,
            question(case),
            case.expected,
            result.answer.error or result.answer.text,
            result.notes,
        )
        for value, _, _, case, result in sorted(ranked, key=lambda one: one[:3])[:_WORST]
    )
