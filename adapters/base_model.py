"""What an adapter must fit: the base model's linear modules, read from the checkpoint's headers alone."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.errors import AdapterRejected, BaseModelUnreadable
from adapters.tensors import TensorInfo, open_tensors

_QUANTISED_SUFFIX = re.compile(
    r"([-_.](unsloth|bnb|gptq|awq|gguf|fp8|nf4|int[48]|[48]bit|w[48]a(8|16)|quantized|dynamic))+$"
)
_VOCABULARY_MODULES = frozenset(
    {"embed_tokens", "lm_head", "wte", "wpe", "word_embeddings", "tok_embeddings", "embed_in", "embed_out"}
)


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """Features in and out of one linear module."""

    inputs: int
    outputs: int


def comparable_name(name: str) -> str:
    """The part of a model's id that identifies it: last path component, lower case, no quantisation suffix."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower().replace(" ", "-")
    return _QUANTISED_SUFFIX.sub("", last)


@dataclass(frozen=True, slots=True)
class BaseModelSpec:
    """The base model, as far as a LoRA adapter depends on it."""

    name: str
    """Public name."""
    modules: Mapping[str, ModuleShape] | None
    """Linear modules inside the layers, by full name. None where the checkpoint is out of reach (a remote
    engine): names are still compared then, shapes are not."""
    vocabulary: frozenset[str] = frozenset()
    """Embedding and output-head modules, by full name."""
    names: frozenset[str] = frozenset()
    """Every comparable name that an adapter may call this model by."""
    dtype: str | None = None
    """The checkpoint's own dtype, such as ``bfloat16``."""

    @classmethod
    def named(cls, name: str, *aliases: str) -> "BaseModelSpec":
        """A base model of which only the name is known."""
        return cls(name=name, modules=None, names=frozenset(map(comparable_name, (name, *aliases))))

    @classmethod
    def from_checkpoint(cls, path: Path, name: str) -> "BaseModelSpec":
        """Read ``config.json`` and the safetensors headers in ``path``; no weights are loaded.

        Raises:
            BaseModelUnreadable: the folder is not a safetensors checkpoint.
        """
        config = _read_config(path)
        tensors: dict[str, TensorInfo] = {}
        for file in _weight_files(path):
            try:
                tensors.update(open_tensors(file).tensors)
            except (AdapterRejected, OSError) as error:
                raise BaseModelUnreadable(f"base model {name}: cannot read {file.name}: {error}") from error
        return cls.from_tensors(name, config, tensors, aliases=(str(path), str(config.get("_name_or_path") or "")))

    @classmethod
    def from_tensors(
        cls, name: str, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo], *, aliases: Iterable[str] = ()
    ) -> "BaseModelSpec":
        """The spec of a checkpoint with these tensors.

        Where the weights are packed so that their shapes do not show (bitsandbytes), only the name is known.

        Raises:
            BaseModelUnreadable: no tensor is the weight of a linear module.
        """
        quantisation = config.get("quantization_config") or {}
        modules: dict[str, ModuleShape] = {}
        vocabulary: set[str] = set()
        for tensor, info in tensors.items():
            module, _, kind = tensor.rpartition(".")
            shape = _linear_shape(kind, info, quantisation)
            if shape is None:
                continue
            if module.rpartition(".")[2] in _VOCABULARY_MODULES:
                vocabulary.add(module)
            else:
                modules[module] = shape
        if config.get("tie_word_embeddings"):
            vocabulary.add("lm_head")
        if not modules and not quantisation:
            raise BaseModelUnreadable(f"base model {name}: there is no linear module in its checkpoint")
        return cls(
            name=name,
            modules=modules or None,
            vocabulary=frozenset(vocabulary),
            names=frozenset(comparable_name(alias) for alias in (name, *aliases) if alias),
            dtype=config.get("dtype") or config.get("torch_dtype"),
        )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelUnreadable(f"cannot read {file}: {error}") from error
    if not isinstance(config, dict):
        raise BaseModelUnreadable(f"{file} is not a JSON object")
    return config


def _weight_files(path: Path) -> list[Path]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [path / file for file in sorted(set(listed))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BaseModelUnreadable(f"cannot read {index}: {error}") from error
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise BaseModelUnreadable(f"{path} holds no safetensors weights")
    return files


def _linear_shape(kind: str, info: TensorInfo, quantisation: Mapping[str, Any]) -> ModuleShape | None:
    """The features of the linear module that this tensor is the weight of; None for any other tensor."""
    if len(info.shape) != 2:
        return None
    rows, columns = info.shape
    method = quantisation.get("quant_method")
    if kind == "weight" and info.dtype != "U8":
        return ModuleShape(inputs=columns, outputs=rows)
    if kind == "qweight" and method in ("awq", "gptq"):
        packed = 32 // int(quantisation.get("bits") or 4)  # values in one 32-bit word
        if method == "awq":
            return ModuleShape(inputs=rows, outputs=columns * packed)
        return ModuleShape(inputs=rows * packed, outputs=columns)
    return None
