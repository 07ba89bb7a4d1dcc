"""The examples' data and adapters: no leakage, valid answers, one schema, recipes that lead to the data."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from serving.config import load_config
from training.data.chat import read_chat
from training.tuning.recipe import SftRecipe

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SCHEMA: dict[str, Any] = json.loads((EXAMPLES / "ticket-triage/output.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "recipe", sorted(EXAMPLES.glob("*/v*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_no_held_out_question_is_trained_on(recipe: Path) -> None:
    loaded = SftRecipe.load(recipe)
    assert loaded.heldout is not None
    train, heldout = read_chat(loaded.train), read_chat(loaded.heldout)
    questions = {row.messages[0].content for row in train.rows}
    assert not questions & {row.messages[0].content for row in heldout.rows}
    assert len(heldout.rows) >= 100


@pytest.mark.parametrize("path", sorted((EXAMPLES / "ticket-triage").glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_triage_answer_satisfies_the_schema(path: Path) -> None:
    validator = Draft202012Validator(SCHEMA)
    answers = [json.loads(row.messages[-1].content) for row in read_chat(path).rows]
    assert all(validator.is_valid(answer) for answer in answers)
    assert all(("team" in answer) is path.stem.endswith("v2") for answer in answers)


def test_the_demos_output_contract_is_the_examples_schema() -> None:
    output = load_config(EXAMPLES / "demo.yaml").tasks["ticket-triage"].output
    assert output is not None
    assert output.json_schema == {name: value for name, value in SCHEMA.items() if name != "$schema"}


@pytest.mark.parametrize("adapter", sorted((EXAMPLES / "adapters").iterdir()), ids=lambda path: path.name)
def test_every_adapter_records_its_recipe_and_what_it_scores(adapter: Path) -> None:
    recipe = yaml.safe_load((adapter / "recipe.yaml").read_text(encoding="utf-8"))
    assert (adapter / recipe["train"]).is_file()
    metrics = json.loads((adapter / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["greedy"]["adapter"]["exact_match"] > metrics["greedy"]["base"]["exact_match"]
    assert (adapter / "adapter_model.safetensors").stat().st_size < 6 * 1024 * 1024
