"""What is known of every case, as far as the decision procedure looks at it. Pure.

Between the grid, which holds texts, and the attribution, which sees only these findings.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from training.diagnosis.evidence import coverage
from training.diagnosis.neighbours import Neighbours
from training.diagnosis.prompt import question_of
from training.diagnosis.reading import Kind, References, answer_key
from training.diagnosis.types import CaseGrid, Cell, Context, Grid, Subject
from training.diagnosis.words import words
from training.errors import DiagnosisInvalid
from training.evaluation.types import Answer, Case, CaseResult

RIGHT_AT = 1.0
"""A metric from which on an answer counts as right."""
TWIN_AT = 0.85
"""Similarity of near-duplicates."""
NEAR_AT = 0.3
"""Similarity of neighbours."""
NEIGHBOURS = 5
ASSUMED_NOISE = 0.1
"""Of a single answer's verdict, where nothing was repeated that would show it."""
_LEAST_NOISE, _MOST_NOISE = 0.01, 0.4


@dataclass(frozen=True, slots=True)
class Trial:
    """One answer, judged."""

    right: bool
    """By the suite's scorers."""
    content: bool
    """Right, or what was wanted can be read out of it."""
    said: str = ""
    """What it says, the same for answers that say the same; empty where nothing can be read or it abstains."""
    in_context: bool = False
    """What it says stands in the case's own passages."""
    error: bool = False
    """There is no answer, or no verdict on it."""


@dataclass(frozen=True, slots=True)
class Findings:
    """One case."""

    case_id: str
    production: Cell
    trials: Mapping[Cell, tuple[Trial, ...]]
    reference: str
    """What the reference says, written as in :attr:`Trial.said`."""
    kind: Kind
    has_context: bool
    """The case has passages of its own."""
    stated: bool
    """They state the reference in so many words."""
    coverage: float
    """How much of them stood before the question in production, in [0, 1]."""
    twins: Mapping[str, int] = field(default_factory=dict)
    """What the references of near-duplicate cases say, and how many do."""
    near: Mapping[str, int] = field(default_factory=dict)
    """The same for neighbours, near-duplicates included; those that differ in a number or have other
    passages do not count."""
    helped_near: tuple[int, int] = (0, 0)
    """Of the neighbours that have passages: how many a model needed them for, and how many there are."""

    @property
    def failed(self) -> bool:
        """Whether no more than half of production's answers are right."""
        return not self.right(self.production)

    def right(self, cell: Cell) -> bool:
        """Whether more than half of a cell's answers are right."""
        trials = self.trials[cell]
        return 2 * sum(one.right for one in trials) > len(trials)

    def helped(self, subject: Subject) -> bool:
        """Whether the case's passages turn a model's wrong answer into a right one."""
        return self.right(Cell(Context.ORACLE, subject)) and not self.right(Cell(Context.NONE, subject))


def survey(grid: Grid, production: Cell, metrics: Collection[str] = (), right_at: float = RIGHT_AT) -> list[Findings]:
    """The findings of every case, in their order.

    Args:
        production: the cell whose failures matter.
        metrics: all must reach ``right_at`` for an answer to be right; none: the suite's primary metric.

    Raises:
        DiagnosisInvalid: the grid lacks the cell, or its results a metric.
    """
    if production not in grid.cells:
        raise DiagnosisInvalid(f"the grid has no cell {production}: {', '.join(map(str, grid.cells))}")
    wanted = tuple(metrics) or (grid.primary,)
    known = {name for case in grid.cases for cell in case.results.values() for one in cell for name in one.scores}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DiagnosisInvalid(f"the suite has no metric {unknown[0]}: {', '.join(sorted(known))}")
    references = References.of(one.case for one in grid.cases)
    alone = [_alone(one, production, references, wanted, right_at) for one in grid.cases]
    neighbours = Neighbours([question_of(one.case) for one in grid.cases])
    contexts = [one.case.context for one in grid.cases]
    return [_among(index, alone, neighbours, contexts) for index in range(len(alone))]


def measured_noise(findings: Sequence[Findings]) -> float | None:
    """How often a single verdict is not the one that its cell mostly gives, from repeats that differ; None without any.

    Two independent answers of one cell differ with probability d = 2e(1 - e), so e = (1 - sqrt(1 - 2d)) / 2.
    """
    pairs = [
        one.right != other.right
        for case in findings
        for trials in case.trials.values()
        for one, other in combinations([trial for trial in trials if not trial.error], 2)
    ]
    if not pairs:
        return None
    differ = min((sum(pairs) + 0.5) / (len(pairs) + 1), 0.5)
    return min(max((1 - math.sqrt(1 - 2 * differ)) / 2, _LEAST_NOISE), _MOST_NOISE)


def _trial(references: References, case: Case, result: CaseResult, metrics: Sequence[str], right_at: float) -> Trial:
    answer = result.answer
    if answer.error is not None:
        return Trial(right=False, content=False, error=True)
    if any(name not in result.scores for name in metrics):
        # A judge gave no verdict.
        return Trial(right=False, content=False, error=True)
    right = all(result.scores[name] >= right_at for name in metrics)
    said = references.says(case, answer)
    return Trial(
        right,
        right or references.agrees(case, answer),
        said,
        bool(said) and bool(case.context) and _stands_in(answer.text, case),
    )


def _stands_in(text: str, case: Case) -> bool:
    return answer_key(text, question_of(case)) <= set(words("\n".join(case.context)))


def _reference(references: References, case: Case) -> str:
    if case.expected_tool_calls:
        return references.says(case, Answer("", tool_calls=case.expected_tool_calls))
    return "" if case.expected is None else references.says(case, Answer(case.expected))


def _coverage(grid_case: CaseGrid, production: Cell, references: References) -> float:
    if production.context is Context.ORACLE:
        return 1.0
    return coverage(grid_case.case, references, grid_case.passages(production.context))


def _alone(
    grid_case: CaseGrid, production: Cell, references: References, metrics: Sequence[str], right_at: float
) -> Findings:
    case = grid_case.case
    trials = {
        cell: tuple(_trial(references, case, one, metrics, right_at) for one in results)
        for cell, results in grid_case.results.items()
    }
    return Findings(
        case.id,
        production,
        trials,
        _reference(references, case),
        references.kind(case),
        bool(case.context),
        references.states(case, case.context),
        _coverage(grid_case, production, references),
    )


def _among(
    index: int, cases: Sequence[Findings], neighbours: Neighbours, contexts: Sequence[Sequence[str]]
) -> Findings:
    """The case with what its neighbours say."""
    case = cases[index]
    around = neighbours.nearest(index, count=4 * NEIGHBOURS, least=NEAR_AT)
    alike = [one for one in around if cases[one.index].kind is case.kind]
    same = [one for one in alike if one.same_numbers and contexts[one.index] == contexts[index]]
    dependent = [cases[one.index] for one in alike[:NEIGHBOURS] if cases[one.index].has_context]
    return replace(
        case,
        twins=Counter(cases[one.index].reference for one in same if one.similarity >= TWIN_AT),
        near=Counter(cases[one.index].reference for one in same[:NEIGHBOURS]),
        helped_near=(sum(any(map(one.helped, Subject)) for one in dependent), len(dependent)),
    )
