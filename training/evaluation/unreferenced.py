"""Scores of answers whose right answer nobody knows, such as those that callers got: what a suite measures without one.

Of JSON that is whether it is valid, by the schema where there is one; of a classification whether the answer is a
label; patterns as they are; groundedness and citations where there is a context. Comparisons are left out, and so are
judges, which cost.
"""

from dataclasses import dataclass

from training.errors import SuiteInvalid
from training.evaluation.scorers.citations import Citations
from training.evaluation.scorers.classification import Classification
from training.evaluation.scorers.groundedness import Groundedness
from training.evaluation.scorers.json_answers import JsonAnswers
from training.evaluation.scorers.judge import JudgeScorer
from training.evaluation.scorers.protocol import Scorer
from training.evaluation.scorers.text import Regex
from training.evaluation.suite import Suite
from training.evaluation.types import Answer, Case


@dataclass(frozen=True, slots=True)
class Check:
    """One metric that needs no reference."""

    metric: str
    scorer: Scorer
    needs_context: bool = False


def checks(suite: Suite) -> tuple[Check, ...]:
    """What a suite can say of an answer without a reference. Raises SuiteInvalid where that is nothing."""
    found = tuple(check for loaded in suite.scorers if (check := _check(loaded.scorer)) is not None)
    if not found:
        raise SuiteInvalid(f"the suite {suite.name}: every scorer needs a reference, or is a judge")
    return found


def mean_score(found: tuple[Check, ...], case: Case, answer: Answer) -> float | None:
    """The mean of what the checks say of one answer, in [0, 1]; None where none of them applies."""
    values = [
        check.scorer.score(case, answer)[check.metric].value
        for check in found
        if case.context or not check.needs_context
    ]
    return sum(values) / len(values) if values else None


def _check(scorer: Scorer | JudgeScorer) -> Check | None:
    match scorer:
        case JsonAnswers():
            plain = scorer.without_reference()
            return Check(plain.metrics[0], plain)
        case Classification():
            return Check("valid_label", scorer)
        case Regex():
            return Check("regex", scorer)
        case Groundedness():
            return Check("grounded", scorer, needs_context=True)
        case Citations():
            return Check("citations_found", scorer, needs_context=True)
        case _:
            return None
