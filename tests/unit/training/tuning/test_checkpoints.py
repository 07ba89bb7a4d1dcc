"""The working folder: a checkpoint is whole or not there, and belongs to one training."""

from pathlib import Path

import pytest

from training.errors import OutputRefused
from training.tuning.checkpoints import WorkFolder


def _write(work: WorkFolder, step: int) -> None:
    folder = work.partial / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text('{"log_history": []}', encoding="utf-8")


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    """An open working folder."""
    folder = WorkFolder(tmp_path / "job")
    folder.open({"seed": 1})
    return folder


def test_a_checkpoint_that_was_not_finished_is_not_gone_on_from(work: WorkFolder) -> None:
    _write(work, 10)
    assert work.newest() is None
    work.open({"seed": 1})
    assert list(work.partial.iterdir()) == []


def test_the_newest_is_by_number(work: WorkFolder) -> None:
    for step in (9, 10, 100):
        _write(work, step)
        work.keep(step)
    assert work.steps() == [9, 10, 100]
    assert work.newest() == 100
    assert work.log(100) == []


def test_a_checkpoint_written_twice_is_replaced(work: WorkFolder) -> None:
    for _ in range(2):
        _write(work, 10)
        work.keep(10)
    assert work.steps() == [10]


def test_the_newest_and_the_best_are_kept(work: WorkFolder) -> None:
    for step in (1, 2, 3, 4, 5):
        _write(work, step)
        work.keep(step)
    work.prune(2, best=1)
    assert work.steps() == [1, 4, 5]


def test_checkpoints_of_another_training_are_refused(work: WorkFolder) -> None:
    _write(work, 10)
    work.keep(10)
    with pytest.raises(OutputRefused, match="another recipe"):
        work.open({"seed": 2})
    work.open({"seed": 1})
    work.clear()
    work.open({"seed": 2})
