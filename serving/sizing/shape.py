"""The shape of a base model, as far as memory and time depend on it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from adapters.errors import AdapterRejected
from adapters.tensors import ITEM_BYTES, TensorInfo, open_tensors
from serving.sizing.errors import CannotSize

DTYPE_BYTES: Mapping[str, float] = {
    "float32": 4, "float16": 2, "bfloat16": 2, "fp8": 1, "int8": 1, "int4": 0.5,
}  # fmt: skip
"""Bytes of one parameter or of one cached number, by the name of its type."""

FLOATS = ("float32", "float16", "bfloat16")
"""Types that a model computes in."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_EXPERT = re.compile(r"\.experts\.")
_NO_CACHE_PER_TOKEN = re.compile(r"mamba|linear|recurrent|conv|ssm|rwkv")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Attention:
    """What one token leaves in the KV cache."""

    layers: int
    """Layers that see the whole context."""
    heads: int
    """Key and value heads."""
    head_dim: int
    windowed: int = 0
    """Layers besides, that see the last ``window`` tokens alone."""
    window: int = 0
    latent: int = 0
    """Multi-head latent attention: numbers for each token and layer, in place of keys and values; else 0."""


@dataclass(frozen=True, slots=True)
class LinearModule:
    """One linear layer that LoRA can change."""

    name: str
    """Such as ``q_proj``."""
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A base model."""

    name: str
    parameters: int
    expert_parameters: int
    """Those of them that are in experts, of which each token uses a share."""
    expert_share: float
    """That share, in (0, 1]; 1 where there are no experts."""
    stored_bytes: int
    """As the weights are stored."""
    float_parameters: int
    """Parameters stored as floating-point numbers, which the engine may keep in another type."""
    float_bytes: int
    dtype: str
    """Of the checkpoint, such as ``bfloat16``."""
    hidden: int
    intermediate: int
    vocabulary: int
    max_positions: int
    attention: Attention
    linear: tuple[LinearModule, ...]
    """Of all layers together."""

    @property
    def active_parameters(self) -> float:
        """Parameters that one token passes through."""
        return self.parameters - self.expert_parameters * (1 - self.expert_share)

    def weights_bytes(self, dtype: str | None) -> int:
        """Bytes of the weights with their floating-point part in ``dtype``; None: as they are stored.

        An engine that quantises while it loads does so with the linear layers, and keeps the rest in 16 bits.
        """
        if dtype is None:
            return self.stored_bytes
        packed = self.stored_bytes - self.float_bytes
        if dtype in FLOATS:
            return round(packed + self.float_parameters * DTYPE_BYTES[dtype])
        linear = min(self.float_parameters, sum(module.inputs * module.outputs for module in self.linear))
        return round(packed + linear * DTYPE_BYTES[dtype] + (self.float_parameters - linear) * 2)

    @property
    def computes_in(self) -> str:
        """The type of its activations, and of its cache unless another is chosen."""
        return self.dtype if self.dtype in FLOATS else "bfloat16"


def read_shape(folder: Path) -> ModelShape:
    """Of a checkpoint: its ``config.json`` and the headers of its weights, none of which are loaded.

    Raises CannotSize.
    """
    return shape_of(folder.resolve().name, _read_config(folder), _tensors(folder))


def shape_of(name: str, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> ModelShape:
    """Of a checkpoint with this ``config.json`` and these tensors. Raises CannotSize."""
    text = _text_config(config)
    if config.get("tie_word_embeddings", text.get("tie_word_embeddings")):
        # Some checkpoints store the output head although the engine uses the input's embedding in its place.
        tensors = {name: info for name, info in tensors.items() if not name.endswith("lm_head.weight")}
    floats = {name: info for name, info in tensors.items() if info.dtype in _FLOATS}
    quantised = sum(_packed(info, config) for name, info in tensors.items() if name not in floats)
    float_parameters = sum(prod(info.shape) for info in floats.values())
    experts = sum(prod(info.shape) for name, info in tensors.items() if _EXPERT.search(name))
    attention, hidden = _attention_of(text), _number(text, "hidden_size")
    intermediate = int(text.get("intermediate_size") or text.get("moe_intermediate_size") or 4 * hidden)
    return ModelShape(
        name=name,
        parameters=float_parameters + quantised,
        expert_parameters=experts,
        expert_share=_expert_share(text),
        stored_bytes=sum(info.end - info.begin for info in tensors.values()),
        float_parameters=float_parameters,
        float_bytes=sum(info.end - info.begin for info in floats.values()),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "bfloat16"),
        hidden=hidden,
        intermediate=intermediate,
        vocabulary=_number(text, "vocab_size"),
        max_positions=int(text.get("max_position_embeddings") or 0),
        attention=attention,
        linear=_linear(tensors) or usual_modules(attention, hidden, intermediate, _number(text, "num_attention_heads")),
    )


def shape_of_numbers(
    parameters: int, layers: int, hidden: int, heads: int, kv_heads: int, intermediate: int | None
) -> ModelShape:
    """Of a model built as Llama is, in bfloat16. Raises CannotSize where the numbers contradict each other."""
    if hidden % heads or heads % kv_heads:
        raise CannotSize(f"hidden size {hidden}, {heads} heads and {kv_heads} key and value heads do not divide evenly")
    attention = Attention(layers, kv_heads, hidden // heads)
    inner = intermediate or round(3.5 * hidden)
    linear = usual_modules(attention, hidden, inner, heads)
    rest = parameters - sum(module.inputs * module.outputs for module in linear)
    if rest < 0:
        raise CannotSize(f"{layers} layers of that size have more than {parameters:,} parameters")
    return ModelShape(
        name="the model",
        parameters=parameters,
        expert_parameters=0,
        expert_share=1.0,
        stored_bytes=2 * parameters,
        float_parameters=parameters,
        float_bytes=2 * parameters,
        dtype="bfloat16",
        hidden=hidden,
        intermediate=inner,
        vocabulary=max(1, round(rest / (2 * hidden))),
        max_positions=0,
        attention=attention,
        linear=linear,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    """``config.json``. Raises CannotSize."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotSize(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CannotSize(f"{file} is not a JSON object")
    return config


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What describes the language model: a section of its own in models that also see. Raises CannotSize."""
    if config.get("is_encoder_decoder"):
        raise CannotSize("an encoder-decoder keeps two caches; this calculator knows decoders alone")
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _attention_of(text: Mapping[str, Any]) -> Attention:
    """What a token leaves in the cache. Raises CannotSize for models whose cache is not counted by tokens."""
    layers = _number(text, "num_hidden_layers")
    kinds = [str(kind) for kind in text.get("layer_types") or ()]
    strange = sorted({kind for kind in kinds if _NO_CACHE_PER_TOKEN.search(kind)})
    names = sorted(name for name in text if re.search(r"mamba|ssm|hybrid_override|rwkv", name))
    if strange or names:
        raise CannotSize(
            f"the model has layers without a cache for each token ({', '.join(strange or names[:2])}); start vLLM with "
            "it once and read the number of its KV cache blocks from its log"
        )
    if text.get("kv_lora_rank"):
        latent = _number(text, "kv_lora_rank") + _number(text, "qk_rope_head_dim")
        return Attention(layers, 1, 0, latent=latent)
    heads = _number(text, "num_attention_heads")
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or _number(text, "hidden_size") // heads)
    window = int(text.get("sliding_window") or 0) if text.get("use_sliding_window", True) else 0
    windowed = 0
    if window:
        windowed = sum("sliding" in kind for kind in kinds) if kinds else layers
    return Attention(layers - windowed, kv_heads, head_dim, windowed, window if windowed else 0)


def usual_modules(attention: Attention, hidden: int, intermediate: int, heads: int) -> tuple[LinearModule, ...]:
    """The linear layers of a model built as Llama is, where no weights show them; none for latent attention."""
    if attention.latent:
        return ()
    query, key = heads * attention.head_dim, attention.heads * attention.head_dim
    a_layer = (
        LinearModule("q_proj", hidden, query),
        LinearModule("k_proj", hidden, key),
        LinearModule("v_proj", hidden, key),
        LinearModule("o_proj", query, hidden),
        LinearModule("gate_proj", hidden, intermediate),
        LinearModule("up_proj", hidden, intermediate),
        LinearModule("down_proj", intermediate, hidden),
    )
    return a_layer * (attention.layers + attention.windowed)


def _expert_share(text: Mapping[str, Any]) -> float:
    experts = next(
        (text[name] for name in ("num_local_experts", "num_experts", "n_routed_experts") if text.get(name)), 0
    )
    used = text.get("num_experts_per_tok") or 0
    return used / experts if experts and used else 1.0


def _number(text: Mapping[str, Any], name: str) -> int:
    value = text.get(name)
    if not isinstance(value, int) or value < 1:
        raise CannotSize(f"config.json has no number `{name}`: it is not a decoder that this calculator knows")
    return value


def _tensors(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of the checkpoint. Raises CannotSize."""
    index = folder / _INDEX
    try:
        if index.is_file():
            listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            files = [folder / name for name in sorted(set(listed))]
        else:
            files = sorted(folder.glob("*.safetensors"))
        found: dict[str, TensorInfo] = {}
        for file in files:
            found.update(open_tensors(file).tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AdapterRejected) as error:
        raise CannotSize(f"the weights in {folder} cannot be read: {error}") from error
    if not found:
        raise CannotSize(f"{folder} holds no safetensors weights")
    return found


def _packed(info: TensorInfo, config: Mapping[str, Any]) -> int:
    """Parameters in a tensor of integers: several share one where fewer than 8 bits are kept of each."""
    settings = config.get("quantization_config") or {}
    bits = settings.get("bits") or (4 if settings.get("load_in_4bit") else None)
    size = info.end - info.begin
    return size * 8 // int(bits) if bits else size // ITEM_BYTES[info.dtype]


def _linear(tensors: Mapping[str, TensorInfo]) -> tuple[LinearModule, ...]:
    """The linear layers inside the blocks, by their weights' shapes."""
    found = []
    for name, info in tensors.items():
        module, _, kind = name.rpartition(".")
        last = module.rpartition(".")[2]
        if kind == "weight" and len(info.shape) == 2 and ".layers." in name and info.dtype in _FLOATS:
            rows, columns = info.shape
            found.append(LinearModule(last, columns, rows))
    return tuple(found)
