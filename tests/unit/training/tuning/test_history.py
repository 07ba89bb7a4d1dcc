"""What is decided from the log of a training."""

import math

import pytest

from training.tuning import history


def _log(*losses: float) -> list[dict[str, float]]:
    return [{"step": 0, "eval_loss": 9.0}] + [{"step": 10 * n, "eval_loss": loss} for n, loss in enumerate(losses, 1)]


def test_the_best_measurement_is_the_lowest_and_of_equals_the_earliest() -> None:
    assert history.best(_log(3.0, 2.0, 2.0, 2.5)) == (20, 2.0)


def test_a_loss_that_is_no_number_is_not_the_best() -> None:
    assert history.best(_log(math.nan, 3.0, -math.inf, 2.5)) == (40, 2.5)
    assert history.best(_log(math.nan)) is None
    assert history.at(_log(math.nan), "eval_loss", 10) is None


def test_the_base_model_itself_is_no_candidate() -> None:
    assert history.best([{"step": 0, "eval_loss": 1.0}]) is None
    assert history.best([{"step": 0, "eval_loss": 1.0}, {"step": 10, "eval_loss": 2.0}]) == (10, 2.0)


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [
        ((3.0, 2.0, 2.5, 2.6), 2, True),
        ((3.0, 2.0, 2.5), 2, False),
        ((3.0, 2.0, 2.5, 1.9), 1, False),
        ((3.0, 2.0, 2.0), 1, True),
        ((3.0, 4.0, 5.0, 6.0), None, False),
        ((), 1, False),
        ((3.0, 2.0, math.nan, math.inf), 2, True),
        ((math.nan, math.nan), 1, False),
    ],
)
def test_patience_counts_measurements_without_a_new_best(
    losses: tuple[float, ...], patience: int | None, *, over: bool
) -> None:
    assert history.is_exhausted(_log(*losses), patience) is over


def test_means_cover_the_steps_up_to_the_one_that_was_kept() -> None:
    log = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 9.0}, {"epoch": 1.0}]
    assert history.mean_until(log, "loss", 2) == 3.0
    assert math.isnan(history.mean_until([], "loss", 2))
    assert history.at(log, "loss", 3) == 9.0
    assert history.at(log, "loss", 4) is None
