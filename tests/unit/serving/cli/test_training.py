"""``loraplex train``."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serving.cli.main import build_app
from tests.tiny_chat_model import make_chat_model
from tests.unit.training.data.rows import preference, turn, user, write


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app("train"), ["train", "check", *arguments])


def _good(folder: Path) -> Path:
    names = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven", "inlet", "jetty")
    return write(
        folder / "rows.jsonl", *(turn(f"Who grows {name}?", f"{name.title()} is grown here.") for name in names)
    )


def _json(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_run(*arguments, "--json").stdout)
    return answer


def test_a_good_file_can_be_trained_on(tmp_path: Path) -> None:
    result = _run(str(_good(tmp_path)))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["10 rows", "This can be trained on."]


def test_a_bad_file_is_refused_with_place_reason_and_code(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", turn("a", "b"), {"prompt": "a", "completion": "b"})
    result = _run(str(path))
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith(f"{path}:2: error: this is the old format of prompt and completion; write ")
    assert first.endswith("[legacy_completion]")
    assert result.stdout.splitlines()[-1] == "This cannot be trained on: legacy_completion."


def test_a_judgment_can_be_allowed_and_a_mistake_cannot(tmp_path: Path) -> None:
    good = _good(tmp_path)
    refused = _run(str(good), "--validation", str(good))
    assert refused.exit_code == 1
    assert "--allow leakage" in refused.stdout
    assert "10 rows, 10 for validation" in refused.stdout
    assert _run(str(good), "--validation", str(good), "--allow", "leakage").exit_code == 0
    mistake = _run(str(good), "--allow", "legacy_completion")
    assert mistake.exit_code == 1
    assert "`legacy_completion` cannot be allowed; what can be: " in mistake.stderr


def test_preferences_are_checked_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", preference(), preference([user("And you?")], "Same.", "Same."))
    answer = _json(str(path), "--kind", "preference")
    assert (answer["object"], answer["rows"], answer["refused"]) == ("train.check", 1, ["equal_outputs"])
    assert answer["lines"]["equal_outputs"] == [2]
    assert answer["can_be_allowed"] == []
    assert "--kind preference" in _run(str(path)).stdout


def test_tokens_are_counted_with_the_bases_tokenizer(tmp_path: Path, base_checkpoint: Path) -> None:
    good = str(_good(tmp_path))
    base = ("--base", str(base_checkpoint))
    result = _run(good, *base, "--tokens-per-second", "10")
    assert result.exit_code == 0
    assert "one epoch: " in result.stdout
    answer = _json(good, *base, "--max-length", "30")
    assert answer["refused"] == ["answer_cut_away"]
    assert answer["lines"]["answer_cut_away"] == list(range(1, 11))


@pytest.mark.parametrize("option", [("--max-length", "100"), ("--tokens-per-second", "10")])
def test_tokens_without_a_tokenizer_are_a_mistake_of_usage(tmp_path: Path, option: tuple[str, str]) -> None:
    result = _run(str(_good(tmp_path)), *option)
    assert result.exit_code == 2
    assert "give --base" in result.stderr


def test_a_base_that_is_none_is_refused(tmp_path: Path) -> None:
    result = _run(str(_good(tmp_path)), "--base", str(tmp_path))
    assert result.exit_code == 1
    assert "no config.json" in result.stderr


def test_a_line_number_is_never_a_picture(tmp_path: Path) -> None:
    """``:100:`` is one on terminals that know such names."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(turn("a", "b")) + "\n" * 100 + "{}\n", encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("\n{}", "{}", 1), encoding="utf-8")
    assert f"{path}:100: error" in _run(str(path)).stdout


# Training


def _recipe(folder: Path, **changes: Any) -> Path:
    _good(folder)
    settings = {"name": "tiny", "base_model": "tiny-llama", "train": "rows.jsonl", "rank": 2, "alpha": 4, "epochs": 1}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(settings | {"max_length": 96} | changes), encoding="utf-8")
    return path


def _train(recipe: Path, base: Path, out: Path, *codes: str) -> Result:
    allow = [part for code in codes for part in ("--allow", code)]
    arguments = ["train", "run", str(recipe), "--base", str(base), "--out", str(out), *allow]
    return CliRunner().invoke(build_app("train"), arguments)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_a_recipe_becomes_an_adapter(tmp_path: Path) -> None:
    base, out = make_chat_model(tmp_path / "base"), tmp_path / "adapter"
    recipe = _recipe(tmp_path, heldout="rows.jsonl")
    refused = _train(recipe, base, out)
    assert refused.exit_code == 2
    assert "the prompt is line 1 of the training file" in refused.stderr
    result = _train(recipe, base, out, "leakage")
    assert result.exit_code == 0, result.stderr
    assert (out / "adapter_model.safetensors").is_file()
    assert f"wrote {out}" in result.stdout


def test_mistakes_in_a_training_are_told_in_a_line(tmp_path: Path) -> None:
    recipe, out = _recipe(tmp_path), tmp_path / "adapter"
    wrong = _train(_recipe(tmp_path, rank=0), tmp_path, out)
    assert wrong.exit_code == 2
    assert "`rank`" in wrong.stderr
    _recipe(tmp_path)
    assert _train(recipe, tmp_path / "nowhere", out).exit_code == 2
    code = _train(recipe, tmp_path, out, "legacy_completion")
    assert code.exit_code == 2
    assert "`legacy_completion` cannot be allowed; what can be: " in code.stderr
    assert not out.exists()
