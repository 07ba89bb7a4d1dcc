"""Reading a base checkpoint's shapes from its headers."""

import json
from pathlib import Path

import pytest

from adapters.base_model import BaseModelSpec, ModuleShape, comparable_name
from adapters.errors import BaseModelUnreadable
from adapters.tensors import TensorInfo
from tests.adapter_factory import make_base, write_tensors
from tests.adapter_spoiling import read_tensors


def test_linear_modules_are_told_from_embeddings_and_norms(base: BaseModelSpec) -> None:
    assert base.modules is not None
    assert base.modules["model.layers.0.mlp.down_proj"] == ModuleShape(inputs=24, outputs=16)
    assert len(base.modules) == 14
    assert base.vocabulary == {"model.embed_tokens", "lm_head"}
    assert base.dtype == "bfloat16"


def test_a_checkpoint_in_shards_is_read_whole(tmp_path: Path, base: BaseModelSpec) -> None:
    folder = make_base(tmp_path)
    tensors = read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, str] = {}
    for number, names in enumerate((sorted(tensors)[:9], sorted(tensors)[9:])):
        shard = f"model-{number}.safetensors"
        write_tensors(folder / shard, {name: tensors[name] for name in names})
        shards |= dict.fromkeys(names, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert BaseModelSpec.from_checkpoint(folder, base.name).modules == base.modules


@pytest.mark.parametrize(
    ("quantisation", "tensors"),
    [
        ({"quant_method": "awq", "bits": 4}, {"qweight": ("I32", (64, 4))}),
        ({"quant_method": "gptq", "bits": 4}, {"qweight": ("I32", (8, 32))}),
        ({"quant_method": "gptq", "bits": 8}, {"qweight": ("I32", (16, 32))}),
        ({"quant_method": "fp8"}, {"weight": ("F8_E4M3", (32, 64)), "weight_scale": ("F32", (1,))}),
        ({"quant_method": "compressed-tensors"}, {"weight": ("I8", (32, 64))}),
    ],
)
def test_a_quantised_checkpoint_has_the_shapes_of_the_full_one(
    quantisation: dict[str, object], tensors: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    infos = {f"m.layers.0.up.{kind}": TensorInfo(dtype, shape, 0, 0) for kind, (dtype, shape) in tensors.items()}
    spec = BaseModelSpec.from_tensors("q", {"quantization_config": quantisation}, infos)
    assert spec.modules == {"m.layers.0.up": ModuleShape(inputs=64, outputs=32)}


def test_a_checkpoint_whose_shapes_are_packed_away_is_known_by_name_alone() -> None:
    infos = {"m.layers.0.up.weight": TensorInfo("U8", (1024, 1), 0, 0)}
    spec = BaseModelSpec.from_tensors("q", {"quantization_config": {"quant_method": "bitsandbytes"}}, infos)
    assert spec.modules is None
    assert spec.names == {"q"}


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_checkpoint_says_so(tmp_path: Path, missing: str) -> None:
    folder = make_base(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(BaseModelUnreadable):
        BaseModelSpec.from_checkpoint(folder, "x")


def test_a_damaged_checkpoint_says_which_file(tmp_path: Path) -> None:
    folder = make_base(tmp_path)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(BaseModelUnreadable, match=r"model\.safetensors is empty"):
        BaseModelSpec.from_checkpoint(folder, "x")


@pytest.mark.parametrize(
    ("name", "comparable"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit", "llama-3.2-1b-instruct"),
        ("TheBloke/Mistral-7B-v0.1-AWQ", "mistral-7b-v0.1"),
        ("/models/gemma/", "gemma"),
        ("C:\\models\\Gemma", "gemma"),
        ("Llama-3.2-1B-FP8-dynamic", "llama-3.2-1b"),
    ],
)
def test_names_are_compared_without_owner_case_or_quantisation(name: str, comparable: str) -> None:
    assert comparable_name(name) == comparable
