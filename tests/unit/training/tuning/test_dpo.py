"""Direct preference optimisation: the better answers gain, against the base with the adapter switched off."""

import json
import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from adapters.base_model import BaseModelSpec
from adapters.validate import AdapterLimits, validate
from tests.unit.training.tuning.conftest import ALLOW, dpo_recipe, preference_rows, write_rows
from training.errors import DataInvalid, TrainingStopped
from training.tuning.checkpoints import WorkFolder
from training.tuning.dpo import DpoReport, run, train
from training.tuning.events import Event
from training.tuning.recipe import DpoRecipe
from training.tuning.session import Session
from training.tuning.stop import Stop

pytestmark = pytest.mark.filterwarnings(
    # Of transformers' own making, at every training.
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)


def _train(recipe: DpoRecipe, base: Path, out: Path) -> DpoReport:
    return train(recipe, base, out, lambda _: None, allow=ALLOW)


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DpoReport]:
    """One training without interruption."""
    folder = tmp_path_factory.mktemp("dpo")
    return folder / "out", _train(dpo_recipe(folder), base, folder / "out")


def test_better_answers_gain_on_the_worse_ones(trained: tuple[Path, DpoReport], base: Path) -> None:
    out, report = trained
    # Before the first step the adapter is the base, and prefers nothing.
    assert report.heldout_loss_base == pytest.approx(math.log(2), abs=1e-4)
    assert report.heldout_loss is not None
    assert report.heldout_loss < math.log(2)
    assert report.heldout_accuracy == 1.0
    assert report.heldout_margin is not None
    assert report.heldout_margin > 0
    validate(out, BaseModelSpec.from_checkpoint(base, "tiny-llama"), AdapterLimits(max_rank=8, max_bytes=1 << 24))
    assert not any(".ref." in name for name in load_file(out / "adapter_model.safetensors"))
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["training"]["method"] == "dpo"


def test_a_training_in_pieces_ends_with_the_same_bytes(
    trained: tuple[Path, DpoReport], base: Path, tmp_path: Path
) -> None:
    recipe = dpo_recipe(tmp_path)
    stop = Stop()

    def interrupt(event: Event) -> None:
        if event.type == "checkpoint" and event.data["step"] == 4:
            stop.ask()

    work = WorkFolder(tmp_path / "work")
    with pytest.raises(TrainingStopped):
        run(recipe, Session(base, tmp_path / "out", work, interrupt, stop, ALLOW))
    assert work.newest() == 5
    report = run(recipe, Session(base, tmp_path / "out", work, lambda _: None, Stop(), ALLOW))
    assert report.resumed_from_step == 5
    name = "adapter_model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (trained[0] / name).read_bytes()


def test_four_bits_train_too(tmp_path: Path, base: Path) -> None:
    report = _train(dpo_recipe(tmp_path, quantization="nf4", epochs=1), base, tmp_path / "out")
    assert report.heldout_loss is not None
    assert report.heldout_loss < math.log(2)


def test_a_preference_whose_answers_are_cut_off_is_refused_by_its_line(tmp_path: Path, base: Path) -> None:
    rows = preference_rows()
    rows[1]["input"]["messages"][0]["content"] = "long " * 200
    recipe = dpo_recipe(tmp_path, train=write_rows(tmp_path / "long.jsonl", rows))
    with pytest.raises(DataInvalid, match=r"long\.jsonl:2") as refused:
        _train(recipe, base, tmp_path / "out")
    assert refused.value.line == 2
