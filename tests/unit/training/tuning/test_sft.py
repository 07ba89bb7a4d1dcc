"""The recipe: what is learnt of a row, what is refused, and an adapter that serving takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from adapters.base_model import BaseModelSpec
from adapters.validate import AdapterLimits, validate
from training.data.chat import ChatRow, read_chat
from training.data.encoding import IGNORED, encode_row
from training.errors import DataInvalid, OutputRefused, RecipeInvalid
from training.tuning.recipe import SftRecipe
from training.tuning.sft import train

pytestmark = pytest.mark.filterwarnings(
    # Of transformers' own making, at every training.
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)


@pytest.fixture(scope="session")
def tokenizer(base_checkpoint: Path) -> PreTrainedTokenizerBase:
    """The demo model's tokenizer, with its chat template."""
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base_checkpoint)
    return loaded


@pytest.fixture(scope="session")
def tiny_base(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama."""
    folder = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _rows(path: Path, *rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return path


def _turns(question: str, answer: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _recipe(folder: Path, **changes: Any) -> SftRecipe:
    rows = [_turns(f"What is {number}?", f"It is {number}.") for number in range(8)]
    settings: dict[str, Any] = {
        "name": "tiny",
        "base_model": "tiny-llama",
        "train": _rows(folder / "train.jsonl", *rows),
        "heldout": _rows(folder / "heldout.jsonl", *rows[:2]),
        "rank": 2,
        "alpha": 4,
        "learning_rate": 1e-2,
        "epochs": 1,
        "batch_size": 4,
        "max_length": 96,
        "seed": 3,
    }
    return SftRecipe.model_validate(settings | changes)


def test_the_loss_covers_the_assistants_words_and_its_end_of_turn_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    row = ChatRow.model_validate({"messages": _turns("Two plus two?", "Four.")})
    encoded = encode_row(row, tokenizer, 128)
    learnt = [token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(learnt) == "Four.<|im_end|>"
    assert [label for label in encoded.labels if label != IGNORED] == learnt


def test_a_turn_of_weight_0_is_context(tokenizer: PreTrainedTokenizerBase) -> None:
    turns = [*_turns("One?", "First answer."), *_turns("Two?", "Second answer.")]
    turns[1]["weight"] = 0
    encoded = encode_row(ChatRow.model_validate({"messages": turns}), tokenizer, 256)
    learnt = [token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(learnt) == "Second answer.<|im_end|>"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Invalid JSON"),
        ('{"messages": []}', "at least 2 items"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}', "the assistant's"),
        ('{"messages": [{"role": "wizard", "content": "x"}, {"role": "assistant", "content": "y"}]}', "role"),
        ('{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "y"}]}', "content"),
        ('{"prompt": "x", "completion": "y"}', "messages"),
    ],
)
def test_bad_rows_are_refused_by_their_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": _turns("a", "b")}) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataInvalid, match=":3: ") as refused:
        read_chat(path)
    assert says in str(refused.value)


def test_a_row_whose_answer_is_cut_off_is_refused_by_its_line(tmp_path: Path, tiny_base: Path) -> None:
    rows = [_turns("short", "answer"), _turns("long " * 200, "answer")]
    recipe = _recipe(tmp_path, train=_rows(tmp_path / "long.jsonl", *rows))
    with pytest.raises(DataInvalid, match=r"long\.jsonl:2: no assistant token"):
        train(recipe, tiny_base, tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


def test_an_adapter_passes_what_serving_demands_and_records_how_it_was_made(tmp_path: Path, tiny_base: Path) -> None:
    out = tmp_path / "out"
    report = train(_recipe(tmp_path), tiny_base, out, lambda _: None)
    spec = BaseModelSpec.from_checkpoint(tiny_base, "tiny-llama")
    manifest = validate(out, spec, AdapterLimits(max_rank=8, max_bytes=1 << 24))
    assert manifest.rank == 2
    assert str(tmp_path) not in (out / "adapter_config.json").read_text(encoding="utf-8")
    assert report.heldout_loss < report.heldout_loss_base
    again = SftRecipe.load(out / "recipe.yaml")
    assert (again.rank, again.seed, again.train.resolve()) == (2, 3, tmp_path / "train.jsonl")
    recorded = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["training"]
    assert recorded["steps"] == 2
    assert recorded["train"]["rows"] == 8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path, tiny_base: Path) -> None:
    weights = []
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        train(_recipe(tmp_path, seed=seed), tiny_base, tmp_path / name, lambda _: None)
        weights.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_an_adapter_is_never_overwritten(tmp_path: Path, tiny_base: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputRefused, match="already holds an adapter"):
        train(_recipe(tmp_path), tiny_base, out, lambda _: None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_model": "/models/base"}, "not a path"),
        ({"ranks": 3}, "unknown key"),
        ({"target_modules": []}, "at least one module"),
        ({"learning_rate": 0}, "greater than 0"),
    ],
)
def test_bad_recipes_are_refused_by_their_key(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "recipe.yaml"
    good = {"name": "x", "base_model": "b", "train": "t.jsonl", "heldout": "h.jsonl"}
    path.write_text(json.dumps(good | changes), encoding="utf-8")
    with pytest.raises(RecipeInvalid, match=next(iter(changes))) as refused:
        SftRecipe.load(path)
    assert says in str(refused.value)
