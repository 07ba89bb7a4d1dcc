"""What contexts and models cost, by the grid's own measurements: tokens and seconds of each request. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from training.diagnosis.estimates import Estimate, mean
from training.diagnosis.types import CaseGrid, Cell, Context, Grid


@dataclass(frozen=True, slots=True)
class Cost:
    """Means for each request, or differences of means over the same cases."""

    prompt_tokens: Estimate
    completion_tokens: Estimate
    seconds: Estimate
    """To the last byte, the search before it included; with as many requests at a time as the grid was asked with."""

    def to_json(self) -> dict[str, dict[str, float]]:
        """By quantity."""
        return {
            "prompt_tokens": self.prompt_tokens.to_json(),
            "completion_tokens": self.completion_tokens.to_json(),
            "seconds": self.seconds.to_json(),
        }


@dataclass(frozen=True, slots=True)
class _Spent:
    prompt: float
    completion: float
    seconds: float


def cost_of(grid: Grid, cell: Cell) -> Cost | None:
    """What a request in a cell costs; None where no case was answered there."""
    return _cost(grid, lambda one: _spent(one, cell))


def cost_of_change(grid: Grid, before: Cell, after: Cell) -> Cost | None:
    """What a request costs more in ``after``, by the cases that both answered."""

    def difference(one: CaseGrid) -> _Spent | None:
        first, second = _spent(one, before), _spent(one, after)
        if first is None or second is None:
            return None
        return _Spent(
            second.prompt - first.prompt, second.completion - first.completion, second.seconds - first.seconds
        )

    return _cost(grid, difference)


def _cost(grid: Grid, of: Callable[[CaseGrid], _Spent | None]) -> Cost | None:
    found = [spent for one in grid.cases if (spent := of(one)) is not None]
    if not found:
        return None
    return Cost(
        mean([one.prompt for one in found]),
        mean([one.completion for one in found]),
        mean([one.seconds for one in found]),
    )


def _spent(case: CaseGrid, cell: Cell) -> _Spent | None:
    answers = [one.answer for one in case.results[cell] if one.answer.error is None]
    if not answers:
        return None
    searched = case.retrieved.seconds if cell.context is Context.RETRIEVED and case.retrieved is not None else 0.0
    count = len(answers)
    return _Spent(
        sum(one.prompt_tokens for one in answers) / count,
        sum(one.completion_tokens for one in answers) / count,
        sum(one.seconds for one in answers) / count + searched,
    )
