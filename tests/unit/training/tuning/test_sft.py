"""Supervised fine-tuning: an adapter that serving takes, the same bytes for the same recipe, however often cut off."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from adapters.base_model import BaseModelSpec
from adapters.validate import AdapterLimits, validate
from tests.unit.training.tuning.conftest import ALLOW, sft_recipe, turns, write_rows
from training.errors import (
    BaseModelInvalid,
    DataInvalid,
    OutputRefused,
    RecipeInvalid,
    TrainingDiverged,
    TrainingStopped,
)
from training.tuning.checkpoints import WorkFolder
from training.tuning.events import Event
from training.tuning.recipe import SftRecipe
from training.tuning.session import Session, local_session
from training.tuning.sft import SftReport, run, train
from training.tuning.stop import Stop

pytestmark = pytest.mark.filterwarnings(
    # Of transformers' own making, at every training.
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)


def _train(recipe: SftRecipe, base: Path, out: Path) -> SftReport:
    return train(recipe, base, out, lambda _: None, allow=ALLOW)


def _weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


class Interrupting:
    """A listener that asks the training to stop at every ``every``-th checkpoint."""

    def __init__(self, every: int) -> None:
        self.stop = Stop()
        self.events: list[Event] = []
        self._every = every
        self._checkpoints = 0

    def __call__(self, event: Event) -> None:
        """Count checkpoints."""
        self.events.append(event)
        if event.type == "checkpoint":
            self._checkpoints += 1
            if self._checkpoints == self._every:
                self.stop.ask()


def _train_in_pieces(recipe: SftRecipe, base: Path, out: Path, every: int) -> int:
    """Train with a stop after every few checkpoints. Returns how often it was stopped."""
    for stops in range(100):
        listener = Interrupting(every)
        session = Session(base, out, WorkFolder(out.with_name("work")), listener, listener.stop, ALLOW)
        try:
            run(recipe, session)
        except TrainingStopped:
            continue
        return stops
    raise AssertionError("it never ended")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SftReport]:
    """One training without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "out", _train(sft_recipe(folder), base, folder / "out")


def test_an_adapter_passes_what_serving_demands_and_records_how_it_was_made(
    trained: tuple[Path, SftReport], base: Path
) -> None:
    out, report = trained
    spec = BaseModelSpec.from_checkpoint(base, "tiny-llama")
    manifest = validate(out, spec, AdapterLimits(max_rank=8, max_bytes=1 << 24))
    assert manifest.rank == 2
    assert str(out.parent) not in (out / "adapter_config.json").read_text(encoding="utf-8")
    assert report.heldout_loss is not None
    assert report.heldout_loss_base is not None
    assert report.heldout_loss < report.heldout_loss_base
    again = SftRecipe.load(out / "recipe.yaml")
    assert (again.rank, again.seed, again.train.resolve()) == (2, 3, (out.parent / "train.jsonl").resolve())
    recorded = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["training"]
    assert (recorded["steps"], recorded["kept_step"]) == (10, 10)
    assert recorded["train"]["rows"] == 20
    assert recorded["peak_memory_bytes"] > 1 << 20
    assert not out.with_name("out.work").joinpath("checkpoints").exists()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    trained: tuple[Path, SftReport], base: Path, tmp_path: Path
) -> None:
    _train(sft_recipe(tmp_path), base, tmp_path / "again")
    _train(sft_recipe(tmp_path, seed=4), base, tmp_path / "other")
    assert _weights(tmp_path / "again") == _weights(trained[0])
    assert _weights(tmp_path / "other") != _weights(trained[0])


def test_a_training_in_pieces_ends_with_the_same_bytes(tmp_path: Path, base: Path) -> None:
    recipe = sft_recipe(tmp_path, dropout=0.1, micro_batch_size=2, use_rslora=True, checkpoint_every=1)
    _train(recipe, base, tmp_path / "whole")
    stops = _train_in_pieces(recipe, base, tmp_path / "pieces", every=3)
    assert stops == 2
    assert _weights(tmp_path / "pieces") == _weights(tmp_path / "whole")
    whole, pieces = (
        json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))["training"]
        for name in ("whole", "pieces")
    )
    for name in ("train_loss", "heldout_loss", "heldout_loss_base", "kept_step", "steps"):
        assert whole[name] == pieces[name]
    assert pieces["resumed_from_step"] == 8


@pytest.mark.parametrize("keep", ["best", "last"])
def test_it_stops_early_and_keeps_the_best_unless_the_recipe_says_otherwise(
    tmp_path: Path, base: Path, keep: str
) -> None:
    # At this rate every step makes it worse, sooner or later.
    changes = {"learning_rate": 3.0, "epochs": 8, "evaluate_every": 2, "patience": 2, "keep_checkpoints": 1}
    recipe = sft_recipe(tmp_path, **changes, keep=keep)
    listener = Interrupting(every=0)
    session = Session(base, tmp_path / "out", WorkFolder(tmp_path / "work"), listener, Stop(), ALLOW)
    report = run(recipe, session)
    losses = {
        event.data["step"]: event.data["valid_loss"]
        for event in listener.events
        if event.type == "metrics" and "valid_loss" in event.data and event.data["step"]
    }
    best = min(losses, key=lambda step: losses[step])
    assert report.steps == best + 4 < report.planned_steps
    assert report.kept_step == (best if keep == "best" else report.steps)
    assert report.heldout_loss == pytest.approx(losses[report.kept_step], abs=1e-5)
    assert SftRecipe.load(tmp_path / "out" / "recipe.yaml").keep == keep
    assert any("stopped early" in event.message for event in listener.events)


def test_a_training_that_diverges_ends_with_what_to_change_and_leaves_no_weights(tmp_path: Path, base: Path) -> None:
    recipe = sft_recipe(tmp_path, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(TrainingDiverged, match=r"at step \d+ the .* lower `learning_rate`") as diverged:
        _train(recipe, base, tmp_path / "out")
    assert (diverged.value.code, diverged.value.param) == ("training_diverged", "learning_rate")
    assert not (tmp_path / "out").exists()
    work = WorkFolder(tmp_path / "out.work")
    assert all(math.isfinite(entry["loss"]) for step in work.steps() for entry in work.log(step) if "loss" in entry)


def test_without_held_out_rows_the_last_step_is_kept(tmp_path: Path, base: Path) -> None:
    report = _train(sft_recipe(tmp_path, heldout=None, epochs=1, packing=False), base, tmp_path / "out")
    assert (report.kept_step, report.heldout_loss, report.heldout) == (5, None, None)


def test_four_bits_train_an_adapter_for_the_full_base(tmp_path: Path, base: Path) -> None:
    report = _train(sft_recipe(tmp_path, quantization="nf4", epochs=1), base, tmp_path / "out")
    validate(
        tmp_path / "out",
        BaseModelSpec.from_checkpoint(base, "tiny-llama"),
        AdapterLimits(max_rank=8, max_bytes=1 << 24),
    )
    assert report.quantization == "nf4"
    # A layer below which no gradient flows would keep LoRA's B at zero.
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(tensor.abs().max() > 0 for name, tensor in tensors.items() if "lora_B" in name)
    assert report.heldout_loss is not None
    assert report.heldout_loss_base is not None
    assert report.heldout_loss < report.heldout_loss_base


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"target_modules": ["lm_head"]}, RecipeInvalid, "could not be served"),
        ({"target_modules": ["embed_tokens"]}, RecipeInvalid, "could not be served"),
        ({"target_modules": ["qkv"]}, BaseModelInvalid, "no module named `qkv`"),
    ],
)
def test_what_serving_would_refuse_is_not_trained(
    tmp_path: Path, base: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _train(sft_recipe(tmp_path, **changes), base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_rank_that_the_gateway_has_no_room_for_is_refused_first(tmp_path: Path, base: Path) -> None:
    session = Session(base, tmp_path / "out", WorkFolder(tmp_path), lambda _: None, Stop(), ALLOW, max_rank=1)
    with pytest.raises(RecipeInvalid, match="above the limit of 1"):
        run(sft_recipe(tmp_path), session)


def test_data_that_fails_its_checks_is_not_trained_on_unless_allowed(tmp_path: Path, base: Path) -> None:
    recipe = sft_recipe(tmp_path)
    with pytest.raises(DataInvalid, match=r"heldout\.jsonl:1") as refused:
        train(recipe, base, tmp_path / "out", lambda _: None)
    assert (refused.value.code, refused.value.line) == ("leakage", 1)


def test_a_row_whose_answer_is_cut_off_is_refused_by_its_line(tmp_path: Path, base: Path) -> None:
    rows = [{"messages": turns("short", "answer")}, {"messages": turns("long " * 200, "answer")}]
    recipe = sft_recipe(tmp_path, train=write_rows(tmp_path / "long.jsonl", rows))
    with pytest.raises(DataInvalid, match=r"long\.jsonl:2") as refused:
        _train(recipe, base, tmp_path / "out")
    assert refused.value.line == 2
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_never_overwritten(tmp_path: Path, base: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputRefused, match="already holds an adapter"):
        _train(sft_recipe(tmp_path), base, out)


def test_checkpoints_of_another_recipe_are_not_gone_on_from(tmp_path: Path, base: Path) -> None:
    listener = Interrupting(every=1)
    session = Session(base, tmp_path / "out", WorkFolder(tmp_path / "out.work"), listener, listener.stop, ALLOW)
    with pytest.raises(TrainingStopped):
        run(sft_recipe(tmp_path), session)
    with pytest.raises(OutputRefused, match="another recipe"):
        run(sft_recipe(tmp_path, seed=9), local_session(base, tmp_path / "out", lambda _: None, ALLOW))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_checkpoints_of_another_base_are_not_gone_on_from(tmp_path: Path, base: Path, name: str) -> None:
    copy = tmp_path / "base"
    shutil.copytree(base, copy)
    recipe, session = sft_recipe(tmp_path), local_session(copy, tmp_path / "out", lambda _: None)
    session.open(recipe, "data", None)
    session.work.step(1).mkdir()
    session.open(recipe, "data", None)
    changed = bytearray((copy / name).read_bytes())
    changed[-1] ^= 1
    (copy / name).write_bytes(changed)
    with pytest.raises(OutputRefused, match="another base"):
        session.open(recipe, "data", None)


def test_the_losses_are_drawn(trained: tuple[Path, SftReport]) -> None:
    pytest.importorskip("matplotlib")
    assert (trained[0] / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_finds_the_losses(trained: tuple[Path, SftReport]) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = loader.EventAccumulator(str(trained[0].with_name("out.work") / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 11))
    assert [event.step for event in events.Scalars("heldout/loss")] == [0, 3, 6, 9, 10]
