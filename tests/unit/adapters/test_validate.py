"""What validation accepts. What it refuses is in test_mutations.py."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.base_model import BaseModelSpec
from adapters.errors import AdapterRejected
from adapters.types import version_name
from adapters.validate import AdapterLimits, AdapterManifest, validate
from tests.adapter_factory import ALL_LINEAR, BASE_NAME, encode, make_adapter, write_tensors
from tests.adapter_spoiling import read_tensors

LIMITS = AdapterLimits(max_rank=16, max_bytes=1 << 20)


def check(folder: Path, base: BaseModelSpec) -> AdapterManifest:
    return validate(folder, base, LIMITS)


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path, base: BaseModelSpec, limits: AdapterLimits = LIMITS) -> str:
    with pytest.raises(AdapterRejected) as refused:
        validate(folder, base, limits)
    return refused.value.code


def test_the_manifest_says_what_the_files_hold(tmp_path: Path, base: BaseModelSpec) -> None:
    folder = make_adapter(tmp_path / "a", base, rank=4, alpha=12, metadata={"epochs": 2})
    (folder / "metrics.json").write_text('{"accuracy": 0.9}')
    manifest = check(folder, base)
    assert (manifest.rank, manifest.alpha, manifest.base_model) == (4, 12.0, BASE_NAME)
    assert manifest.target_modules == tuple(sorted(ALL_LINEAR))
    assert manifest.metadata == {"recipe": {"epochs": 2}, "metrics": {"accuracy": 0.9}}
    served = ("adapter_config.json", "adapter_model.safetensors")
    assert manifest.size_bytes == sum((folder / name).stat().st_size for name in served)
    version = manifest.version("triage", str(folder))
    assert version.name == version_name("triage", manifest.digest)
    assert version.created_at.tzinfo is not None


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_dtype_that_the_engine_reads_is_accepted(tmp_path: Path, base: BaseModelSpec, dtype: str) -> None:
    check(make_adapter(tmp_path / "a", base, dtype=dtype), base)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_rslora": True},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"task_type": None},
        {"base_model_name_or_path": None},
        {"target_modules": list(reversed(ALL_LINEAR))},
        {"target_modules": r".*\.(self_attn|mlp)\.\w+_proj"},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"^model.layers.0.*": 16}},
        {"exclude_modules": ["lm_head"]},
        {"megatron_core": "megatron.core", "lora_dropout": 0.1, "peft_version": "0.21.2", "qalora_group_size": 16},
        {"modules_to_save": [], "trainable_token_indices": None, "loftq_config": {}, "use_dora": False},
    ],
    ids=str,
)
def test_settings_that_serve_as_trained_are_accepted(
    adapter: Path, base: BaseModelSpec, changes: dict[str, Any]
) -> None:
    configure(adapter, **changes)
    check(adapter, base)


def test_some_modules_alone_are_an_adapter(tmp_path: Path, base: BaseModelSpec) -> None:
    manifest = check(make_adapter(tmp_path / "a", base, target_modules=("q_proj", "v_proj")), base)
    assert manifest.target_modules == ("q_proj", "v_proj")


def test_some_layers_alone_are_an_adapter_if_the_configuration_says_so(adapter: Path, base: BaseModelSpec) -> None:
    weights = adapter / "adapter_model.safetensors"
    write_tensors(weights, {name: value for name, value in read_tensors(weights).items() if "layers.1." in name})
    assert refusal(adapter, base) == "layers_missing"
    configure(adapter, layers_to_transform=[1])
    check(adapter, base)


def test_ranks_that_differ_are_accepted_where_every_module_is_scaled_alike(tmp_path: Path, base: BaseModelSpec) -> None:
    folder = make_adapter(tmp_path / "a", base, rank=8, alpha=16)
    weights = folder / "adapter_model.safetensors"
    tensors = read_tensors(weights)
    for name, (dtype, shape, _) in list(tensors.items()):
        if "q_proj" in name:
            smaller = (2, shape[1]) if "lora_A" in name else (shape[0], 2)
            tensors[name] = (dtype, smaller, encode(np.full(smaller, 0.1, dtype=np.float32), dtype))
    write_tensors(weights, tensors)
    configure(folder, rank_pattern={"q_proj": 2})
    assert refusal(folder, base) == "scaling_pattern"
    configure(folder, alpha_pattern={"q_proj": 4})
    assert check(folder, base).rank == 8


def test_excluded_modules_need_no_weights_though_the_targets_name_them(tmp_path: Path, base: BaseModelSpec) -> None:
    folder = make_adapter(tmp_path / "a", base, target_modules=("q_proj", "k_proj"))
    configure(folder, target_modules=["q_proj", "k_proj", "model.layers.0.self_attn.v_proj"])
    assert refusal(folder, base) == "target_without_weights"
    configure(folder, exclude_modules=["v_proj"])
    check(folder, base)


def test_one_module_with_an_effect_is_enough(adapter: Path, base: BaseModelSpec) -> None:
    weights = adapter / "adapter_model.safetensors"
    tensors = read_tensors(weights)
    for name, (dtype, shape, data) in list(tensors.items()):
        if "lora_B" in name and "layers.0.mlp.up_proj" not in name:
            tensors[name] = (dtype, shape, bytes(len(data)))
    write_tensors(weights, tensors)
    check(adapter, base)


def test_values_that_become_infinite_in_the_engines_dtype_are_refused(adapter: Path, base: BaseModelSpec) -> None:
    weights = adapter / "adapter_model.safetensors"
    tensors = read_tensors(weights)
    name = sorted(tensors)[0]
    dtype, shape, _ = tensors[name]
    tensors[name] = (dtype, shape, encode(np.full(math.prod(shape), 1e6, dtype=np.float32), dtype))
    write_tensors(weights, tensors)
    check(adapter, base)
    assert refusal(adapter, replace(base, dtype="float16")) == "weights_overflow"


@pytest.mark.parametrize(
    "claimed",
    [
        BASE_NAME,
        f"some-org/{BASE_NAME}",
        f"some-org/{BASE_NAME.upper()}",
        f"unsloth/{BASE_NAME}-bnb-4bit",
        f"unsloth/{BASE_NAME}-unsloth-bnb-4bit",
        f"/data/models/{BASE_NAME}/",
        "/data/models/run-17/base",
        "./base",
        "../models/base",
        "~/base",
        "C:\\models\\base",
        "checkpoint-on-disk",
    ],
)
def test_a_base_model_that_goes_by_another_path_is_accepted(adapter: Path, base: BaseModelSpec, claimed: str) -> None:
    configure(adapter, base_model_name_or_path=claimed)
    check(adapter, base)


def test_limits_are_inclusive(tmp_path: Path, base: BaseModelSpec) -> None:
    folder = make_adapter(tmp_path / "a", base, rank=16)
    size = sum(path.stat().st_size for path in folder.iterdir())
    validate(folder, base, AdapterLimits(max_rank=16, max_bytes=size))
    assert refusal(folder, base, AdapterLimits(max_rank=16, max_bytes=size - 1)) == "too_large"
    assert refusal(folder, base, AdapterLimits(max_rank=15, max_bytes=size)) == "rank_too_large"


def test_what_training_leaves_beside_an_adapter_does_not_matter(adapter: Path, base: BaseModelSpec) -> None:
    digest = check(adapter, base).digest
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "README.md", "tokenizer.json"):
        (adapter / name).write_bytes(b"\x80\x04")
    (adapter / "runs").mkdir()
    assert check(adapter, base).digest == digest


def test_a_link_inside_the_folder_is_followed(adapter: Path, base: BaseModelSpec) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "epoch-2.safetensors")
    (adapter / "adapter_model.safetensors").symlink_to("epoch-2.safetensors")
    check(adapter, base)


def test_a_base_that_is_known_by_name_alone_still_refuses_what_it_can(adapter: Path) -> None:
    remote = BaseModelSpec.named(BASE_NAME)
    check(adapter, remote)
    assert refusal(adapter, BaseModelSpec.named("another")) == "wrong_base_model_name"
    configure(adapter, target_modules=["q_proj"])
    assert refusal(adapter, remote) == "module_not_targeted"


def test_a_folder_that_is_none_is_refused(tmp_path: Path, base: BaseModelSpec) -> None:
    assert refusal(tmp_path / "missing", base) == "not_a_folder"
