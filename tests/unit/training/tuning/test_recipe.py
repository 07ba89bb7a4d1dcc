"""Recipes: what can be asked for, and what is refused before anything is trained."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from training.errors import RecipeInvalid
from training.tuning.recipe import DpoRecipe, SftRecipe, load_recipe
from training.tuning.steering import Plan

GOOD = {"name": "x", "base_model": "b", "train": "t.jsonl", "heldout": "h.jsonl"}


def _write(folder: Path, changes: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(GOOD | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_model": "/models/base"}, "not a path"),
        ({"ranks": 3}, "unknown key"),
        ({"target_modules": []}, "at least one module"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"epochs": math.inf}, "finite number"),
        ({"alpha": math.nan}, "finite number"),
        ({"use_dora": True}, "DoRA is not served"),
        ({"init_lora_weights": "pissa"}, "changes the base model's weights"),
        ({"init_lora_weights": "olora"}, "changes the base model's weights"),
        ({"modules_to_save": ["lm_head"]}, "are not served"),
        ({"bias": "all"}, "trained biases are not served"),
        ({"lora_bias": True}, "is not served by the engine"),
        ({"trainable_token_indices": [1]}, "are not served"),
        ({"rank": 1024}, "less than or equal to 512"),
        ({"quantization": "int8"}, "'none' or 'nf4'"),
        ({"patience": 2, "heldout": None}, "needs held-out rows"),
        ({"evaluate_every": 5, "heldout": None}, "needs held-out rows"),
        ({"micro_batch_size": 3, "batch_size": 4}, "multiple of `micro_batch_size`"),
    ],
)
def test_bad_recipes_are_refused_by_their_key(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeInvalid, match=next(iter(changes))) as refused:
        SftRecipe.load(_write(tmp_path, changes))
    assert says in str(refused.value)


def test_what_serving_would_take_is_still_no_field_of_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="`use_dora`: unknown key") as refused:
        SftRecipe.load(_write(tmp_path, {"use_dora": False}))
    assert refused.value.param == "use_dora"


def test_a_file_says_its_method(tmp_path: Path) -> None:
    assert isinstance(load_recipe(_write(tmp_path, {})), SftRecipe)
    assert isinstance(load_recipe(_write(tmp_path, {"method": "dpo", "beta": 0.2})), DpoRecipe)
    with pytest.raises(RecipeInvalid, match="there are sft and dpo"):
        load_recipe(_write(tmp_path, {"method": "ppo"}))


def test_a_recorded_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path, {"use_rslora": True, "patience": 2}))
    out = tmp_path / "out" / "adapter"
    out.mkdir(parents=True)
    (out / "recipe.yaml").write_text(recipe.record(out), encoding="utf-8")
    again = load_recipe(out / "recipe.yaml")
    assert again.train.resolve() == recipe.train.resolve()
    assert again.model_dump(exclude={"train", "heldout"}) == recipe.model_dump(exclude={"train", "heldout"})


def test_a_recipe_without_held_out_rows_measures_nothing() -> None:
    plan = Plan.of(SftRecipe.parse(GOOD | {"heldout": None, "epochs": 1.5, "batch_size": 4}, Path()), rows=10)
    assert (plan.steps, plan.evaluate_every) == (5, None)


def test_by_default_a_tenth_of_a_training_is_at_risk_and_it_is_measured_four_times() -> None:
    plan = Plan.of(SftRecipe.parse(GOOD | {"epochs": 2, "batch_size": 16}, Path()), rows=1600)
    assert (plan.steps, plan.checkpoint_every, plan.evaluate_every) == (200, 20, 50)
