"""Suite runs for tests."""

from collections.abc import Mapping, Sequence

from training.evaluation.types import Answer, CaseResult, SuiteRun


def make_run(
    scores: Mapping[str, Sequence[float]],
    *,
    version: str = "triage@1",
    digest: str = "d" * 64,
    answers: Sequence[str] | None = None,
    errors: int = 0,
    case_ids: Sequence[str] | None = None,
) -> SuiteRun:
    """A run with these values of each metric, case by case; the first ``errors`` requests have no answer."""
    count = len(next(iter(scores.values())))
    ids = case_ids or [f"case-{number}" for number in range(count)]
    results = tuple(
        CaseResult(
            ids[index],
            0,
            Answer(
                answers[index] if answers else f"answer {index}", error="connection lost" if index < errors else None
            ),
            {metric: values[index] for metric, values in scores.items()},
        )
        for index in range(count)
    )
    return SuiteRun("triage", digest, "triage", version, next(iter(scores)), results, {})
