"""Small valid adapters, and a tiny base checkpoint to go with them. numpy only."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.base_model import BaseModelSpec
from adapters.types import AdapterVersion, version_name

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
"""Tensor name → (safetensors dtype, shape, little-endian bytes)."""

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
BASE_NAME = "tiny-llama"


def encode(values: npt.NDArray[np.float32], dtype: str) -> bytes:
    """``values`` as safetensors stores them. bfloat16 rounds to nearest even."""
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    bits = values.astype("<f4").view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file, in the order given."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in tensors.values()))


def make_base(folder: Path, *, layers: int = 2, hidden: int = 16, intermediate: int = 24, vocabulary: int = 40) -> Path:
    """A llama-shaped checkpoint of a few kilobytes in ``folder``; returns ``folder``."""
    key_value = hidden // 2
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    linear = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (key_value, hidden),
        "self_attn.v_proj": (key_value, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
    }
    for layer in range(layers):
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (hidden,)
        for module, shape in linear.items():
            shapes[f"model.layers.{layer}.{module}.weight"] = shape
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(
        folder / "model.safetensors",
        {
            name: ("BF16", shape, encode(random.standard_normal(math.prod(shape), dtype=np.float32), "BF16"))
            for name, shape in shapes.items()
        },
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def adapter_tensors(
    base: BaseModelSpec, *, rank: int, seed: int, scale: float, target_modules: Iterable[str], dtype: str = "F32"
) -> Tensors:
    """LoRA pairs for every module of ``base`` whose last name is in ``target_modules``."""
    assert base.modules is not None
    random = np.random.default_rng(seed)
    targets = set(target_modules)
    tensors: Tensors = {}
    for module, shape in sorted(base.modules.items()):
        if module.rpartition(".")[2] not in targets:
            continue
        for side, dims in (("A", (rank, shape.inputs)), ("B", (shape.outputs, rank))):
            values = random.standard_normal(dims, dtype=np.float32) * np.float32(scale)
            tensors[f"base_model.model.{module}.lora_{side}.weight"] = (dtype, dims, encode(values, dtype))
    return tensors


def adapter_config(
    base: BaseModelSpec, *, rank: int, alpha: float, target_modules: Iterable[str], **extra: Any
) -> dict[str, Any]:
    """An ``adapter_config.json`` as PEFT writes it, without the fields that PEFT leaves at their defaults."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(target_modules),
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "inference_mode": True,
        "rank_pattern": {},
        "alpha_pattern": {},
        **extra,
    }


def make_adapter(
    folder: Path,
    base: BaseModelSpec | Path,
    *,
    rank: int = 8,
    alpha: float | None = None,
    seed: int = 0,
    scale: float = 0.05,
    target_modules: Iterable[str] = ALL_LINEAR,
    dtype: str = "F32",
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a valid random adapter for ``base`` (a spec or a checkpoint folder) into ``folder``; returns ``folder``.

    Equal arguments give equal weights; another ``seed`` gives another version. ``scale`` is the standard deviation
    of both factors. ``config`` overrides fields of adapter_config.json; ``metadata`` goes into ``recipe.json``.
    """
    spec = base if isinstance(base, BaseModelSpec) else BaseModelSpec.from_checkpoint(base, base.name)
    targets = tuple(target_modules)
    folder.mkdir(parents=True, exist_ok=True)
    settings = adapter_config(spec, rank=rank, alpha=2.0 * rank if alpha is None else alpha, target_modules=targets)
    settings.update(config or {})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))
    write_tensors(
        folder / "adapter_model.safetensors",
        adapter_tensors(spec, rank=rank, seed=seed, scale=scale, target_modules=targets, dtype=dtype),
    )
    if metadata is not None:
        (folder / "recipe.json").write_text(json.dumps(metadata))
    return folder


def make_version(adapter: str, content: str, **fields: Any) -> AdapterVersion:
    """A version of ``adapter`` that was never built; ``content`` decides its digest."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    values: dict[str, Any] = {
        "name": version_name(adapter, digest),
        "adapter": adapter,
        "digest": digest,
        "base_model": BASE_NAME,
        "rank": 8,
        "alpha": 16.0,
        "target_modules": ("q_proj", "v_proj"),
        "size_bytes": 1000,
        "source": f"/adapters/{adapter}",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "metadata": {"recipe": {"epochs": 2}},
    }
    return AdapterVersion(**values | fields)
