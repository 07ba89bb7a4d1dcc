"""Valid LoRA adapters with random weights, for measurements in which the text does not matter."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def linear_shapes(checkpoint: Path, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Module name → (outputs, inputs) of the checkpoint's linear layers whose last name is in ``targets``."""
    shapes: dict[str, tuple[int, int]] = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            for key in tensors.keys():  # noqa: SIM118  (not a mapping)
                module = key.removesuffix(".weight")
                if module != key and module.rpartition(".")[2] in targets:
                    outputs, inputs = tensors.get_slice(key).get_shape()
                    shapes[module] = (outputs, inputs)
    return shapes


def make_adapters(
    checkpoint: Path, out: Path, count: int, *, rank: int, targets: tuple[str, ...] = ALL_LINEAR
) -> list[Path]:
    """Write ``count`` different adapters for ``checkpoint`` below ``out``."""
    shapes = linear_shapes(checkpoint, targets)
    folders = []
    for number in range(count):
        folder = out / f"random-{number:04d}"
        folder.mkdir(parents=True)
        random = np.random.default_rng(number)
        tensors = {}
        for module, (outputs, inputs) in shapes.items():
            for side, dims in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = random.standard_normal(dims, dtype=np.float32) * np.float32(0.05)
                tensors[f"base_model.model.{module}.lora_{side}.weight"] = values.astype(np.float16)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(_config(checkpoint, rank, targets)), encoding="utf-8")
        folders.append(folder)
    return folders


def _config(checkpoint: Path, rank: int, targets: tuple[str, ...]) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(checkpoint),
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(targets),
        "bias": "none",
        "use_dora": False,
        "modules_to_save": None,
    }
