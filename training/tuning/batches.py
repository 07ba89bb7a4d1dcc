"""Batches of encoded rows, and the loss over the assistant's tokens in them."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from training.data.encoding import IGNORED, EncodedRow

Batch = dict[str, Tensor]


class Collator:
    """Pads rows on the left, so that answers line up at the end and one slice of positions holds all of them."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, rows: Sequence[EncodedRow]) -> Batch:
        """One batch, as wide as its longest row."""
        width = max(len(row.input_ids) for row in rows)
        gaps = [width - len(row.input_ids) for row in rows]
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        return {
            "input_ids": torch.tensor(
                [[self._pad] * gap + list(row.input_ids) for gap, row in zip(gaps, rows, strict=True)]
            ),
            "labels": torch.tensor([[IGNORED] * gap + list(row.labels) for gap, row in zip(gaps, rows, strict=True)]),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        }


def answer_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits that predict supervised tokens, and those tokens: (tokens, vocabulary) and (tokens,).

    The head runs only where some row of the batch is supervised. Its output is by far the largest tensor of a small
    model's training, and most of it would be thrown away.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    following = batch["labels"][:, 1:]
    positions = (following != IGNORED).any(dim=0).nonzero().squeeze(1)
    logits: Tensor = model(**inputs, logits_to_keep=positions, use_cache=False).logits
    targets = following[:, positions]
    supervised = targets != IGNORED
    return logits[supervised].float(), targets[supervised]


def answer_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy summed over the supervised tokens, in nats."""
    logits, targets = answer_logits(model, batch)
    return nn.functional.cross_entropy(logits, targets, reduction="sum")


def supervised_tokens(rows: Sequence[EncodedRow]) -> int:
    """How many tokens of ``rows`` are learnt or measured; a first token has nothing to be predicted from."""
    return sum(label != IGNORED for row in rows for label in row.labels[1:])


def mean_loss(model: nn.Module, rows: Sequence[EncodedRow], collator: Collator, batch_size: int) -> float:
    """Mean cross-entropy per supervised token, in nats, without training."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    total = 0.0
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        for batch in batched(rows, collator, batch_size):
            total += answer_loss(model, {name: tensor.to(device) for name, tensor in batch.items()}).item()
    model.train(was_training)
    return total / supervised_tokens(rows)


def batched(rows: Sequence[EncodedRow], collator: Collator, batch_size: int) -> Iterator[Batch]:
    """The rows in order, ``batch_size`` at a time."""
    for start in range(0, len(rows), batch_size):
        yield collator(rows[start : start + batch_size])
