"""Scores answers by a suite. Pure: a judge's verdicts are given, see judging.py."""

from collections.abc import Sequence

from training.evaluation.scorers.judge import JudgeScorer
from training.evaluation.suite import Suite
from training.evaluation.types import Answer, Case, CaseResult, Json


def score(suite: Suite, case: Case, answer: Answer, repeat: int, verdicts: Sequence[Json] = ()) -> CaseResult:
    """Every metric of one answer. Where there is no answer, every metric is 0.

    Args:
        verdicts: what ``judging.Judges.verdicts`` gave for this answer. A judge's metric is left out without them.
    """
    if answer.error is not None:
        why = f"no answer: {answer.error}"
        return CaseResult(case.id, repeat, answer, dict.fromkeys(suite.metrics, 0.0), dict.fromkeys(suite.metrics, why))
    scores: dict[str, float] = {}
    notes: dict[str, str] = {}
    for loaded in suite.scorers:
        if isinstance(loaded.scorer, JudgeScorer):
            metric = loaded.metrics[0]
            found = loaded.scorer.score([one for one in verdicts if one["metric"] == metric])
            if not found:
                notes[metric] = "no verdict"
        else:
            found = loaded.scorer.score(case, answer)
        for name, one in found.items():
            scores[loaded.prefix + name] = one.value
            if one.note:
                notes[loaded.prefix + name] = one.note
    return CaseResult(case.id, repeat, answer, scores, notes, tuple(verdicts))
