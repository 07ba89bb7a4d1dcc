"""Whether rows that share a sequence can see each other in this model, measured before anything is trained.

Attention obeys a mask; recurrent layers do not, sliding windows may replace it, and a model may count positions by
itself. No list of architectures would stay right, so every model is asked.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training.errors import BaseModelInvalid
from training.tuning.batches import own_row_mask

_LENGTH = 12
# Shares of the change that an open view makes. Rounding moves logits a little where shapes change inside: between
# sequences of different lengths, and in a mixture of experts with every token.
_LEAK = 0.05
_DRIFT = 0.25
_WINDOWED = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
"""transformers' names for layers that do not see everything, and for the settings with their size in tokens."""


def require_isolation(model: nn.Module, vocabulary: int, max_length: int) -> None:
    """Raises BaseModelInvalid where a packed row of ``max_length`` tokens is not answered as it would be alone."""
    if leaks(model, vocabulary):
        raise BaseModelInvalid(
            "rows that share a sequence would see each other in this base model; set `packing: false` in the recipe",
            param="packing",
        )
    window = attention_window(model)
    if window is not None and max_length > window:
        # transformers takes a mask of packed rows as it is, for all layers: none of them would have its window.
        raise BaseModelInvalid(
            f"layers of this base model look back {window} tokens at most, which packed rows cannot; set `packing: "
            f"false` in the recipe, or `max_length` to {window} or less",
            param="packing",
        )


def attention_window(model: nn.Module) -> int | None:
    """How many tokens the layers with the shortest view see; None where all layers see everything."""
    config: Any = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    if layers is not None and not any(layer in _WINDOWED for layer in layers):
        return None
    sizes = (getattr(config, name, None) for name in _WINDOWED.values())
    return min((size for size in sizes if size), default=None)


def leaks(model: nn.Module, vocabulary: int) -> bool:
    """Whether what stands before a row in its sequence changes the row's logits, in spite of the mask."""
    tokens = torch.arange(3 * _LENGTH) * 7919 % min(vocabulary, 50_000)
    row, before, other = tokens[:_LENGTH], tokens[_LENGTH : 2 * _LENGTH], tokens[2 * _LENGTH :]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        masked = _logits(model, before, row)
        change = (masked - _logits(model, other, row)).abs().mean()
        open_change = (_open(model, before, row) - _open(model, other, row)).abs().mean()
        alone = _logits(model, row[:0], row)
    model.train(was_training)
    drift = (masked - alone).abs().mean()
    return bool(change > _LEAK * open_change or drift > _DRIFT * open_change)


def _logits(model: nn.Module, before: Tensor, row: Tensor) -> Tensor:
    owners = torch.cat([torch.zeros_like(before), torch.ones_like(row)])[None]
    positions = torch.cat([torch.arange(len(before)), torch.arange(len(row))])[None]
    return _run(model, before, row, attention_mask=own_row_mask(owners), position_ids=positions)


def _open(model: nn.Module, before: Tensor, row: Tensor) -> Tensor:
    return _run(model, before, row, position_ids=torch.arange(len(before) + len(row))[None])


def _run(model: nn.Module, before: Tensor, row: Tensor, **inputs: Tensor) -> Tensor:
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        output = model(
            input_ids=torch.cat([before, row])[None].to(device),
            use_cache=False,
            **{name: tensor.to(device) for name, tensor in inputs.items()},
        )
    logits: Tensor = output.logits[0, len(before) :].float()
    return logits
