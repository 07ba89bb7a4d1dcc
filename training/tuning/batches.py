"""Batches of encoded rows, and the loss over the assistant's tokens in them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.data.encoding import IGNORED, EncodedRow
from training.tuning.packing import pack

Batch = dict[str, Tensor]


class Collator:
    """Lays rows into sequences: one each, or several where ``packs``."""

    def __init__(self, pad_token_id: int, max_length: int = 0, *, packs: bool = False) -> None:
        self._pad = pad_token_id
        self._max_length = max_length
        self._packs = packs

    def __call__(self, rows: Sequence[EncodedRow]) -> Batch:
        """One batch; tensors are (sequences, width), the mask of a packed one (sequences, 1, width, width)."""
        lengths = [len(row.input_ids) for row in rows]
        plan = pack(lengths, self._max_length) if self._packs else [[position] for position in range(len(rows))]
        width = max(sum(lengths[position] for position in places) for places in plan)
        shape = (len(plan), width)
        batch = {
            "input_ids": torch.full(shape, self._pad),
            "labels": torch.full(shape, IGNORED),
            "position_ids": torch.zeros(shape, dtype=torch.long),
        }
        owners = torch.full(shape, -1)
        for sequence, places in enumerate(plan):
            start = 0
            for position in places:
                place = slice(start, start := start + lengths[position])
                row = rows[position]
                batch["input_ids"][sequence, place] = torch.tensor(row.input_ids)
                # A row's first token has nothing to be predicted from: least of all the end of another row.
                batch["labels"][sequence, place] = torch.tensor((IGNORED, *row.labels[1:]))
                batch["position_ids"][sequence, place] = torch.arange(lengths[position])
                owners[sequence, place] = position
        is_shared = any(len(places) > 1 for places in plan)
        batch["attention_mask"] = own_row_mask(owners) if is_shared else (owners >= 0).long()
        return batch


def own_row_mask(owners: Tensor) -> Tensor:
    """(sequences, width) of row numbers → (sequences, 1, width, width), added to the scores: 0 where a token may look.

    Tokens see earlier tokens of their own row. Padding sees padding, because a row of nothing but masked scores has no
    softmax.
    """
    width = owners.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool).tril()
    seen = (owners[:, :, None] == owners[:, None, :]) & earlier
    # Numbers rather than truth values, which eager attention would add to the scores as 1 and 0.
    mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill(~seen, torch.finfo(torch.bfloat16).min)
    return mask[:, None]


@contextmanager
def _head_only_at(model: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Within, the model's head sees the hidden states of the ``wanted`` positions alone."""
    head: Any = model
    head = head.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][wanted], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def answer_logits(
    model: nn.Module, batch: Mapping[str, Tensor], head_of: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Logits that predict supervised tokens, and those tokens: (tokens, vocabulary) and (tokens,).

    The head runs only where a token is supervised. Its output is by far the largest tensor of a small model's
    training, and most of it would be thrown away. ``head_of`` is the model itself where ``model`` is a wrapper.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    following = torch.full_like(batch["labels"], IGNORED)
    following[:, :-1] = batch["labels"][:, 1:]
    supervised = following != IGNORED
    with _head_only_at(head_of or model, supervised):
        logits: Tensor = model(**inputs, use_cache=False).logits
    return logits.float(), following[supervised]


@dataclass(frozen=True, slots=True)
class AnswerLoss:
    """What one batch cost."""

    total: Tensor
    """Cross-entropy summed over the supervised tokens, in nats; a scalar."""
    correct: Tensor
    """Supervised tokens that were the likeliest; a scalar."""
    tokens: int


def answer_loss(model: nn.Module, batch: Mapping[str, Tensor], head_of: nn.Module | None = None) -> AnswerLoss:
    """The loss over the supervised tokens of a batch."""
    logits, targets = answer_logits(model, batch, head_of)
    return AnswerLoss(
        total=nn.functional.cross_entropy(logits, targets, reduction="sum"),
        correct=(logits.detach().argmax(dim=-1) == targets).sum(),
        tokens=targets.numel(),
    )


def supervised_tokens(rows: Sequence[EncodedRow]) -> int:
    """How many tokens of ``rows`` are learnt or measured; a first token has nothing to be predicted from."""
    return sum(label != IGNORED for row in rows for label in row.labels[1:])


def total_loss(model: nn.Module, rows: Sequence[EncodedRow], collator: Collator, batch_size: int) -> Tensor:
    """Summed cross-entropy in nats, correct tokens and supervised tokens: (3,), without training."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        for batch in batched(rows, collator, batch_size):
            loss = answer_loss(model, {name: tensor.to(device) for name, tensor in batch.items()})
            sums += torch.tensor([loss.total.item(), loss.correct.item(), loss.tokens], dtype=torch.float64)
    model.train(was_training)
    return sums


def batched(rows: Sequence[EncodedRow], collator: Collator, batch_size: int) -> Iterator[Batch]:
    """The rows in order, ``batch_size`` at a time."""
    for start in range(0, len(rows), batch_size):
        yield collator(rows[start : start + batch_size])
