"""From causes to what to do: improve retrieval, train, both, or neither, with numbers. Pure.

Changing truth belongs in retrieval, stable judgment in training. So

- **retrieval** would mend the failures that retrieval missed: the grid shows each of them right with the oracle's
  passages (a counterfactual that was measured, not guessed);
- **training** would mend, at most, those whose form is broken, whose context was ignored, or whose judgment is wrong.
  How
  many it mends in truth is not in the grid; what the present adapter's training mended of the base's failures under the
  oracle is, and stands beside the bound as its yield so far;
- a doubtful **label** is mended by neither, and is to be looked at first.

A remedy is worth while where it mends at least :attr:`Policy.worthwhile` of all cases; ``sure`` is the share of
bootstrap resamples of the cases in which it does (Efron & Tibshirani, 1993). It is recommended where that is at least
:attr:`Policy.sure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from training.diagnosis.attribution import Attribution, Cause
from training.diagnosis.costs import Cost, cost_of_change
from training.diagnosis.estimates import Estimate, chance_of_at_least, share
from training.diagnosis.findings import Findings
from training.diagnosis.types import Cell, Context, Grid, Subject

TRAINABLE = (Cause.FORMAT, Cause.CONTEXT, Cause.JUDGMENT)


class Advice(StrEnum):
    """What to do."""

    RETRIEVAL = "improve retrieval"
    TRAINING = "train"
    BOTH = "both"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Policy:
    """When a remedy is recommended."""

    worthwhile: float = 0.02
    """The least share of all cases that it must mend."""
    sure: float = 0.5
    """The least chance that it does."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing that could be done."""

    name: str
    causes: tuple[Cause, ...]
    mends: int
    """Failures; for training the most that it can."""
    of_failures: Estimate
    """Their share of all failures, with Wilson's interval."""
    of_cases: Estimate
    """Their share of all cases: what accuracy gains, in [0, 1]."""
    sure: float
    """How likely it is that so many cases are mended that it is worth while."""
    recommended: bool
    expected: Estimate | None
    """Failures mended if it works as well as training did so far; None where each case is measured, or unknown."""
    cost: Cost | None
    """For each request, against production; None where it costs a request nothing."""

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "name": self.name,
            "causes": [str(cause) for cause in self.causes],
            "mends": self.mends,
            "of_failures": self.of_failures.to_json(),
            "of_cases": self.of_cases.to_json(),
            "sure": round(self.sure, 4),
            "recommended": self.recommended,
            "expected": None if self.expected is None else self.expected.to_json(),
            "cost": None if self.cost is None else self.cost.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, and why."""

    advice: Advice
    remedies: tuple[Remedy, ...]
    yield_so_far: Estimate | None
    """Of the cases that the base fails under the oracle, those that the adapter gets right; None where both are one
    model, or the base fails none."""
    notes: tuple[str, ...]
    """What a team should know besides."""

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "advice": str(self.advice),
            "remedies": [one.to_json() for one in self.remedies],
            "training_yield_so_far": None if self.yield_so_far is None else self.yield_so_far.to_json(),
            "notes": list(self.notes),
        }


def recommend(
    grid: Grid, findings: Sequence[Findings], attributions: Sequence[Attribution], policy: Policy | None = None
) -> Recommendation:
    """What the causes of a grid's failures ask for."""
    policy = policy or Policy()
    causes = {one.case_id: one.cause for one in attributions}
    production = findings[0].production
    so_far = _yield(grid, findings)
    searching = Context.ORACLE if production.context is not Context.ORACLE else None
    remedies = [
        _remedy(
            "retrieval",
            (Cause.RETRIEVAL,),
            causes,
            findings,
            policy,
            cost=None if searching is None else _context_cost(grid, production),
        ),
        _remedy(
            "training", TRAINABLE, causes, findings, policy, expected=so_far, cost=_training_cost(grid, production)
        ),
    ]
    wanted = [one.recommended for one in remedies]
    advice = {
        (True, True): Advice.BOTH,
        (True, False): Advice.RETRIEVAL,
        (False, True): Advice.TRAINING,
        (False, False): Advice.NEITHER,
    }[wanted[0], wanted[1]]
    return Recommendation(advice, tuple(remedies), so_far, tuple(_notes(findings, causes)))


def accuracy(findings: Sequence[Findings], cell: Cell) -> Estimate:
    """The share of cases that are mostly right in a cell."""
    return share(sum(one.right(cell) for one in findings), len(findings))


def _remedy(
    name: str,
    causes: tuple[Cause, ...],
    found: Mapping[str, Cause],
    findings: Sequence[Findings],
    policy: Policy,
    *,
    expected: Estimate | None = None,
    cost: Cost | None = None,
) -> Remedy:
    mended = [float(found.get(one.case_id) in causes) for one in findings]
    count = int(sum(mended))
    sure = chance_of_at_least(mended, policy.worthwhile)
    return Remedy(
        name,
        causes,
        count,
        share(count, len(found)),
        share(count, len(findings)),
        sure,
        count > 0 and sure >= policy.sure,
        None if expected is None else expected.scaled(count),
        cost,
    )


def _yield(grid: Grid, findings: Sequence[Findings]) -> Estimate | None:
    if grid.models[Subject.BASE] == grid.models[Subject.ADAPTER]:
        return None
    base, adapter = (Cell(Context.ORACLE, subject) for subject in Subject)
    missed = [one for one in findings if not one.right(base)]
    return share(sum(one.right(adapter) for one in missed), len(missed)) if missed else None


def _context_cost(grid: Grid, production: Cell) -> Cost | None:
    """What the oracle's passages cost; where production has none, what retrieved ones cost."""
    if production.context is Context.RETRIEVED:
        return cost_of_change(grid, production, production.under(Context.ORACLE))
    retrieved = production.under(Context.RETRIEVED)
    return cost_of_change(grid, production, retrieved if retrieved in grid.cells else production.under(Context.ORACLE))


def _training_cost(grid: Grid, production: Cell) -> Cost | None:
    if production.subject is Subject.ADAPTER:
        return None
    return cost_of_change(grid, production, Cell(production.context, Subject.ADAPTER))


def _notes(findings: Sequence[Findings], causes: Mapping[str, Cause]) -> list[str]:
    production = findings[0].production
    notes = []
    doubtful = sum(cause is Cause.LABEL for cause in causes.values())
    if doubtful:
        notes.append(f"{_cases(doubtful)} to look at before anything is trained: the label is doubtful.")
    if unformed := sum(cause is Cause.FORMAT for cause in causes.values()):
        notes.append(f"{_cases(unformed)} fail by form alone: an output contract on the task may mend them untrained.")
    oracle = production.under(Context.ORACLE)
    crowded = sum(
        causes.get(one.case_id) is Cause.CONTEXT and production != oracle and one.right(oracle) for one in findings
    )
    if crowded:
        notes.append(
            f"{_cases(crowded)} whose evidence was retrieved and ignored are right when it stands alone: fewer or "
            "better ranked passages would mend them too."
        )
    base, adapter = (Cell(Context.NONE, subject) for subject in Subject)
    if known := sum(one.stated and one.right(adapter) and not one.right(base) for one in findings):
        notes.append(
            f"{_cases(known)} of facts are right without any context since the adapter was trained: facts in weights "
            "go stale when the documents change."
        )
    if unanswered := sum(cause is Cause.UNANSWERED for cause in causes.values()):
        notes.append(f"{_cases(unanswered)} got no answer at all: neither remedy is for them.")
    if lost := sum(one.right(production) and not one.right(oracle) for one in findings):
        notes.append(f"{_cases(lost)} are right in production and wrong with the oracle's passages: noise, or labels.")
    return notes


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
