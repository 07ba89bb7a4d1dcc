"""An adapter's tensors, two by two: what each LoRA module's pair is called and how it is shaped."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.errors import AdapterRejected
from adapters.tensors import TensorInfo

DTYPES = ("F32", "F16", "BF16")
_PREFIX = "base_model.model."
_SIDES = {".lora_A.weight": "A", ".lora_B.weight": "B"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The two factors of one module's update: B (outputs × rank) times A (rank × inputs)."""

    a: str
    """Name of tensor A in the file."""
    b: str
    rank: int
    inputs: int
    outputs: int


def pair_tensors(tensors: Mapping[str, TensorInfo]) -> dict[str, Pair]:
    """Module name → its pair.

    Raises:
        AdapterRejected: ``no_tensors``, ``tensor_name``, ``tensor_dtype``, ``tensor_pair``, ``tensor_rank``, or the
            code of the feature that an extra tensor gives away (``dora``, ``bias``, ``embedding_lora``, ...).
    """
    if not tensors:
        raise AdapterRejected("no_tensors", "the weights hold no tensors at all; save the adapter again.")
    sides: dict[str, dict[str, str]] = {}
    for name, info in tensors.items():
        module, side = _parse_name(name)
        if side in sides.setdefault(module, {}):
            raise AdapterRejected(
                "tensor_name", f"the weights hold lora_{side} of {module} twice; save the adapter again."
            )
        if info.dtype not in DTYPES:
            raise AdapterRejected(
                "tensor_dtype",
                f"tensor {name} is stored as {info.dtype}; only {', '.join(DTYPES)} are served.",
            )
        sides[module][side] = name
    return {module: _make_pair(module, names, tensors) for module, names in sides.items()}


def _parse_name(name: str) -> tuple[str, str]:
    for suffix, side in _SIDES.items():
        if name.endswith(suffix):
            module = name.removesuffix(suffix).removeprefix(_PREFIX)
            if module and _PREFIX not in module + ".":
                return module, side
    raise _unserved(name)


def _unserved(name: str) -> AdapterRejected:
    if "lora_magnitude_vector" in name:
        return AdapterRejected(
            "dora", f"tensor {name} belongs to DoRA, which is not served; train with use_dora=False."
        )
    if "lora_embedding_" in name or name.endswith(".base_layer.weight"):
        return AdapterRejected(
            "embedding_lora", f"tensor {name} changes the embeddings, which is not served; train linear layers only."
        )
    if name.endswith(".bias"):
        return AdapterRejected("bias", f"tensor {name} is a trained bias, which is not served; train with bias='none'.")
    if "modules_to_save" in name:
        return AdapterRejected("modules_to_save", f"tensor {name} is a whole module, which is not served beside LoRA.")
    if "lora_" not in name:
        return AdapterRejected(
            "modules_to_save",
            f"tensor {name} is a weight of the model itself, not of LoRA; save the adapter alone.",
        )
    return AdapterRejected(
        "tensor_name",
        f"tensor {name} does not have a name that the engine reads (MODULE.lora_A.weight); save the adapter with PEFT.",
    )


def _make_pair(module: str, names: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> Pair:
    for side, other in (("A", "B"), ("B", "A")):
        if side not in names:
            raise AdapterRejected(
                "tensor_pair", f"{module} has lora_{other} without lora_{side}; save the adapter again."
            )
    a, b = tensors[names["A"]].shape, tensors[names["B"]].shape
    if len(a) != 2 or len(b) != 2 or 0 in a + b:
        raise AdapterRejected(
            "tensor_rank", f"the weights of {module} have the shapes {list(a)} and {list(b)}; both must be matrices."
        )
    if a[0] != b[1]:
        raise AdapterRejected(
            "tensor_rank",
            f"lora_A of {module} has rank {a[0]} and lora_B rank {b[1]}; they must agree, save the adapter again.",
        )
    return Pair(a=names["A"], b=names["B"], rank=a[0], inputs=a[1], outputs=b[0])
