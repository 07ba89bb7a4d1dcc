"""Write a trained adapter the way that serving wants it."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from training.errors import OutputRefused

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECIPE = "recipe.yaml"
METRICS = "metrics.json"


def require_free(folder: Path) -> None:
    """Raises OutputRefused if ``folder`` already holds an adapter."""
    if (folder / WEIGHTS).exists() or (folder / CONFIG).exists():
        raise OutputRefused(f"{folder} already holds an adapter; remove it, or choose another folder")


def write_adapter(folder: Path, model: PeftModel, base_model: str) -> None:
    """Write weights (bfloat16) and configuration; the same weights always give the same bytes.

    ``base_model`` is recorded instead of the place that the base was read from, which means nothing elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in sorted(state.items())}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, _config(model, base_model))


def _config(model: PeftModel, base_model: str) -> dict[str, Any]:
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
