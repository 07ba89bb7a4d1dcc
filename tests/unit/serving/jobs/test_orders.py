"""From what a caller asks for to what the trainer is told."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.config import GatewayConfig, TrainingSettings, parse_config
from serving.errors import ConfigInvalid, InvalidRequest
from serving.jobs.orders import JobRequest, adapter_name, check_recipe, full_recipe
from serving.jobs.service import JobService, base_checkpoint, process_launcher
from serving.preflight import quick_preflight
from tests.adapter_factory import make_base
from tests.lifecycle import world


def asked(method: str = "supervised", hyperparameters: dict[str, Any] | None = None, **fields: Any) -> JobRequest:
    """A request."""
    return JobRequest("base", "file-1", method, hyperparameters or {}, **fields)


def recipe_of(request: JobRequest, max_rank: int = 16) -> dict[str, Any]:
    """What the trainer gets of it, besides what it always gets."""
    recipe = full_recipe(request, adapter="cards", base_model="base", seed=3, max_rank=max_rank)
    fixed = {"name": "cards", "base_model": "base", "train": "train.jsonl", "seed": 3}
    assert recipe.items() >= fixed.items()
    return {name: value for name, value in recipe.items() if name not in fixed}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"adapter": "cards"}, "cards"),
        ({"suffix": "Visa & co"}, "Visa-co"),
        ({"suffix": "-x-"}, "x"),
        ({"suffix": "ü" * 3 + "a"}, "a"),
        ({}, "ft-0123456789ab"),
    ],
)
def test_the_adapter_has_the_name_that_was_asked_for(fields: dict[str, Any], name: str) -> None:
    assert adapter_name(asked(**fields), "ftjob-0123456789abcdef") == name


def test_what_is_auto_is_left_to_the_recipe() -> None:
    assert recipe_of(asked(hyperparameters={"n_epochs": "auto", "batch_size": "auto"})) == {}


def test_hyperparameters_become_fields_of_the_recipe() -> None:
    given = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5}

    assert recipe_of(asked(hyperparameters=given, recipe={"rank": 4}, validation_file="file-2")) == {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": pytest.approx(1e-4),
        "rank": 4,
        "heldout": "heldout.jsonl",
    }


def test_a_gateway_of_small_ranks_gets_what_it_can_serve() -> None:
    assert recipe_of(asked(), max_rank=8) == {"rank": 8}
    assert recipe_of(asked(recipe={"rank": 1}), max_rank=8) == {"rank": 1}


@pytest.mark.parametrize("recipe", [{"rank": True}, {"rank": 32}, {"rank": 8.0}, {"seed": 1}, {"beta": 1}])
def test_a_recipe_that_decides_too_much_is_refused(recipe: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        check_recipe(asked("dpo", {"beta": 0.1}, recipe=recipe), max_rank=16)


@pytest.mark.parametrize(
    "recipe",
    [
        {"epochs": 51},
        {"epochs": math.inf},
        {"epochs": "60"},
        {"batch_size": 512},
        {"batch_size": 10**400},
        {"beta": 2.5},
        {"alpha": math.inf},
        {"learning_rate": math.nan},
    ],
)
def test_a_recipe_has_the_limits_of_the_hyperparameters_that_it_stands_for(recipe: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=f"loraplex.recipe.{next(iter(recipe))}"):
        check_recipe(asked("dpo", recipe=recipe), max_rank=16)


@pytest.mark.parametrize("field", ["evaluate_every", "patience"])
def test_fields_about_held_out_rows_go_with_a_validation_file(field: str) -> None:
    check_recipe(asked(recipe={field: 5}, validation_file="file-2"), 16)
    with pytest.raises(InvalidRequest, match="heldout"):
        check_recipe(asked(recipe={field: 5}), 16)


def test_a_recipe_at_its_limits_is_taken() -> None:
    check_recipe(asked("dpo", recipe={"epochs": 50, "batch_size": 256, "beta": 2, "alpha": 64}), max_rank=16)


def config_of(**training: Any) -> GatewayConfig:
    """A configuration with a section for training."""
    return parse_config({"model": {"id": "org/base"}, "training": training})


def test_training_needs_adapters() -> None:
    with pytest.raises(ConfigInvalid, match="what a job makes is an adapter"):
        parse_config({"model": {"id": "org/base"}, "training": {}, "adapters": {"enabled": False}})


def test_its_paths_are_absolute_once_the_file_is_loaded(tmp_path: Path) -> None:
    settings = config_of(base="./base").with_absolute_paths(tmp_path).training

    assert settings is not None
    assert (settings.base, settings.folder) == (str(tmp_path / "base"), tmp_path / ".loraplex" / "jobs")


def test_the_checkpoint_that_is_trained_on_can_be_another(tmp_path: Path) -> None:
    make_base(tmp_path / "base")
    config = config_of()

    assert base_checkpoint(config, TrainingSettings(base=str(tmp_path / "base")), print) == str(tmp_path / "base")
    with pytest.raises(ConfigInvalid, match=r"^`training.base`: there is no folder"):
        base_checkpoint(config, TrainingSettings(base=str(tmp_path / "none")), print)
    local = config.model_copy(update={"model": config.model.model_copy(update={"id": str(tmp_path / "none")})})
    with pytest.raises(ConfigInvalid, match=r"^`model.id`.*`training.base` can name another"):
        base_checkpoint(local, TrainingSettings(), print)


def test_a_base_that_is_no_checkpoint_is_told_before_the_start(tmp_path: Path) -> None:
    problems = quick_preflight(config_of(base=str(tmp_path)))

    assert f"`training.base`: there is no checkpoint in {tmp_path} (no config.json)" in problems


def test_gpus_are_hidden_from_trainers_unless_they_are_named() -> None:
    assert process_launcher(TrainingSettings())._environment["CUDA_VISIBLE_DEVICES"] == ""
    named = process_launcher(TrainingSettings(visible_devices="1", cpus_per_job=3))._environment
    assert named == {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "3"}
    assert "CUDA_VISIBLE_DEVICES" not in process_launcher(TrainingSettings(), on_ray=True)._environment


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"gpus_per_job": 2}, "is 2, but a job is one"), ({"visible_devices": "0,1"}, "several devices")],
)
def test_a_job_has_one_gpu_at_most(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TrainingSettings(**settings)
    assert TrainingSettings(gpus_per_job=0.5).gpus_per_job == 0.5


async def test_only_ray_reserves_gpus(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        with pytest.raises(ConfigInvalid, match="only Ray reserves GPUs"):
            JobService(it.config, TrainingSettings(gpus_per_job=1), it.rollouts, base=str(it.base))
