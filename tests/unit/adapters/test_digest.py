"""Equal weights have equal names, whoever wrote the files; different ones do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.base_model import BaseModelSpec
from adapters.digest import digest_folder
from tests.adapter_factory import make_adapter, write_tensors
from tests.adapter_spoiling import read_tensors


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(dict(reversed(config.items())), indent=7))


def test_the_digest_never_changes_between_releases(tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "target_modules": ["v_proj", "q_proj"], "bias": "none"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    write_tensors(
        tmp_path / "adapter_model.safetensors",
        {"q.lora_A.weight": ("BF16", (2, 4), bytes(range(16))), "q.lora_B.weight": ("F32", (1, 2), bytes(range(8)))},
    )
    assert digest_folder(tmp_path) == "296249a3134c201d02cfb517d621c8fcc11402936664b788ad805fb32898df21"


def test_the_same_weights_made_twice_have_one_digest(tmp_path: Path, base: BaseModelSpec) -> None:
    first, second = make_adapter(tmp_path / "a", base), make_adapter(tmp_path / "b", base)
    assert digest_folder(first) == digest_folder(second)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": ["v_proj", "up_proj", "q_proj", "o_proj", "k_proj", "gate_proj", "down_proj"]},
        {"lora_alpha": 16.0},
        {"base_model_name_or_path": "/somewhere/else", "revision": "main", "inference_mode": False},
        {"lora_dropout": 0.3, "peft_version": "9.9", "task_type": None, "init_lora_weights": "gaussian"},
        {"use_rslora": None, "rank_pattern": None, "a_setting_of_tomorrow": None},
    ],
    ids=str,
)
def test_how_the_configuration_is_written_does_not_matter(adapter: Path, changes: dict[str, Any]) -> None:
    before = digest_folder(adapter)
    rewrite(adapter, **changes)
    assert digest_folder(adapter) == before


@pytest.mark.parametrize("changes", [{"lora_alpha": 17}, {"use_rslora": True}, {"r": 4}, {"alpha_pattern": {"q": 1}}])
def test_a_setting_that_changes_answers_changes_the_digest(adapter: Path, changes: dict[str, Any]) -> None:
    before = digest_folder(adapter)
    rewrite(adapter, **changes)
    assert digest_folder(adapter) != before


def test_how_the_tensors_are_laid_out_does_not_matter(adapter: Path) -> None:
    before = digest_folder(adapter)
    weights = adapter / "adapter_model.safetensors"
    write_tensors(weights, dict(reversed(read_tensors(weights).items())))
    assert digest_folder(adapter) == before


def test_one_bit_of_the_weights_changes_the_digest(adapter: Path) -> None:
    before = digest_folder(adapter)
    weights = adapter / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert digest_folder(adapter) != before


def test_two_tensors_that_swap_names_change_the_digest(adapter: Path) -> None:
    before = digest_folder(adapter)
    weights = adapter / "adapter_model.safetensors"
    tensors = read_tensors(weights)
    one, two = (name for name in tensors if "q_proj.lora_A" in name)
    tensors[one], tensors[two] = tensors[two], tensors[one]
    write_tensors(weights, tensors)
    assert digest_folder(adapter) != before


def test_other_files_do_not_matter(adapter: Path) -> None:
    before = digest_folder(adapter)
    (adapter / "README.md").write_text("# Mine")
    (adapter / "recipe.yaml").write_text("epochs: 3")
    assert digest_folder(adapter) == before
