"""Write a trained adapter the way that serving wants it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.errors import OutputRefused

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECIPE = "recipe.yaml"
METRICS = "metrics.json"
CURVES = "curves.png"


def require_free(folder: Path) -> None:
    """Raises OutputRefused if ``folder`` already holds an adapter."""
    if (folder / WEIGHTS).exists() or (folder / CONFIG).exists():
        raise OutputRefused(f"{folder} already holds an adapter; remove it, or choose another folder")


def write_adapter(folder: Path, model: PeftModel, base_model: str, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write weights and configuration; the same weights always give the same bytes.

    ``base_model`` is recorded instead of the place that the base was read from, which means nothing elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in sorted(state.items())}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, adapter_config(model, base_model))


def read_weights(folder: Path, model: PeftModel) -> None:
    """Put the adapter that ``write_adapter`` left in ``folder`` into ``model``."""
    tensors: Mapping[str, Tensor] = load_file(folder / WEIGHTS)
    set_peft_model_state_dict(model, dict(tensors))


def adapter_config(model: PeftModel, base_model: str) -> dict[str, Any]:
    """The adapter's ``adapter_config.json``."""
    settings = model.peft_config["default"].to_dict()
    settings |= {"base_model_name_or_path": base_model, "inference_mode": True}
    # PEFT keeps modules in sets, whose order changes from run to run.
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in sorted(settings.items())
        if value is not None
    }


def write_json(path: Path, value: object) -> None:
    """Write indented JSON with a final line break."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
