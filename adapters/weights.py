"""Looking at the weights themselves: nothing that is not a number, and not nothing at all."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from adapters.errors import AdapterRejected
from adapters.lora_tensors import Pair
from adapters.tensors import TensorFile

_HALF_MAX = 65504.0
_CHUNK_BYTES = 16 * 1024 * 1024

_BITS: Mapping[str, tuple[str, int, int]] = {
    # dtype → (how to view its bits, mask of the exponent, mask of everything but the sign)
    "F32": ("<u4", 0x7F800000, 0x7FFFFFFF),
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
}


def check_values(weights: TensorFile, pairs: Mapping[str, Pair], engine_dtype: str | None) -> None:
    """Every value is a finite number, in the engine's dtype too, and at least one module's update is not zero.

    Raises:
        AdapterRejected: ``non_finite_weights``, ``weights_overflow`` or ``no_effect``.
    """
    acts = False
    for pair in pairs.values():
        a = _nonzero(weights, pair.a, engine_dtype)
        b = _nonzero(weights, pair.b, engine_dtype)
        # B × A is zero exactly where no index of the rank is used on both sides.
        acts = acts or bool((a.any(axis=1) & b.any(axis=0)).any())
    if not acts:
        raise AdapterRejected(
            "no_effect",
            "the adapter changes nothing: every module's update is zero; was it saved before training?",
        )


def _nonzero(weights: TensorFile, name: str, engine_dtype: str | None) -> npt.NDArray[np.bool_]:
    """Where the tensor is not zero; its values are checked on the way."""
    info = weights.tensors[name]
    view, exponent, magnitude = _BITS[info.dtype]
    found = np.empty(info.shape, dtype=np.bool_).reshape(-1)
    position = 0
    for bits in _chunks(weights.raw(name).view(view)):
        if ((bits & exponent) == exponent).any():
            raise AdapterRejected(
                "non_finite_weights", f"tensor {name} holds NaN or infinity; the training diverged, train it again."
            )
        if engine_dtype == "float16" and info.dtype != "F16" and _largest(bits, info.dtype) > _HALF_MAX:
            raise AdapterRejected(
                "weights_overflow",
                f"tensor {name} holds values above {_HALF_MAX:g}, which become infinite in the base model's float16.",
            )
        found[position : position + len(bits)] = (bits & magnitude) != 0
        position += len(bits)
    return found.reshape(info.shape)


def _largest(bits: npt.NDArray[np.unsignedinteger], dtype: str) -> float:
    wide = bits.astype("<u4") << 16 if dtype == "BF16" else bits
    return float(np.abs(wide.view("<f4")).max(initial=0.0))


def _chunks(bits: npt.NDArray[np.unsignedinteger]) -> Iterator[npt.NDArray[np.unsignedinteger]]:
    step = _CHUNK_BYTES // bits.itemsize
    for start in range(0, len(bits), step):
        yield bits[start : start + step]
