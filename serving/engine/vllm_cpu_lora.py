"""A mend of vLLM's LoRA on processors, where the base model could be answered by an adapter.

In a batch that mixes adapters and the base model, vLLM marks the rows of the base model with slot -1. Its kernels for
accelerators skip those rows; its plain-torch ones use -1 as an index, which is the *last* slot: whatever adapter sits
there is then applied to the base model's requests. So in vLLM 0.29 and 0.32; reported there as vllm#48421, still open.
"""

from collections.abc import Callable
from typing import Any

_EXPANDS = ("bgmv_expand", "bgmv_expand_slice")
_MENDED = "loraplex_mended"


def mend_base_rows() -> None:
    """Make vLLM's plain-torch LoRA leave rows of slot -1 as they are. Safe to call twice.

    Must run before a model is built, since a compiled model keeps the functions that it was compiled with.
    """
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for name in _EXPANDS:
        expand = getattr(lora_ops, name)
        if hasattr(expand, _MENDED):
            continue
        mended = _skipping_base_rows(expand)
        for module in (lora_ops, torch_ops, punica_cpu):
            setattr(module, name, mended)


def _skipping_base_rows(expand: Callable[..., None]) -> Callable[..., None]:
    """``expand``, which adds each row's product with its slot's weights, with nothing to add for slot -1."""

    def skipping(inputs: Any, weights: Any, output: Any, slots: Any, *args: Any, **kwargs: Any) -> None:
        expand(inputs.masked_fill((slots < 0).unsqueeze(1), 0), weights, output, slots, *args, **kwargs)

    setattr(skipping, _MENDED, True)
    return skipping
