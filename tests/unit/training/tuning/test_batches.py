"""Batches: padding changes nothing, and the loss is that of the assistant's tokens."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen2Config,
)

from training.data.encoding import IGNORED, EncodedRow
from training.errors import BaseModelInvalid
from training.tuning.batches import Collator, answer_logits, answer_loss, supervised_tokens, total_loss
from training.tuning.isolation import attention_window, leaks, require_isolation

SHORT = EncodedRow((5, 6, 7, 8), (IGNORED, IGNORED, 7, 8), truncated=False)
LONG = EncodedRow(tuple(range(10, 21)), (IGNORED,) * 5 + (15, 16, IGNORED, IGNORED, 19, 20), truncated=False)
COLLATOR = Collator(pad_token_id=0)
PACKER = Collator(pad_token_id=0, max_length=64, packs=True)
_TINY: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """A random one-layer Llama in float32."""
    torch.manual_seed(1)
    config = LlamaConfig(**_TINY, attn_implementation="eager")
    llama: torch.nn.Module = LlamaForCausalLM(config).eval()
    return llama


def test_rows_lie_one_to_a_sequence_and_padding_is_masked() -> None:
    batch = COLLATOR([SHORT, LONG])
    assert batch["input_ids"].shape == (2, 11)
    assert batch["input_ids"][0].tolist() == [5, 6, 7, 8] + [0] * 7
    assert batch["labels"][0].tolist() == [IGNORED] * 2 + [7, 8] + [IGNORED] * 7
    assert batch["attention_mask"][0].tolist() == [1] * 4 + [0] * 7
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3] + [0] * 7


def test_packed_rows_see_themselves_alone_and_count_from_zero() -> None:
    batch = PACKER([SHORT, LONG, SHORT])
    assert batch["input_ids"].tolist() == [[*LONG.input_ids, *SHORT.input_ids, *SHORT.input_ids]]
    assert batch["position_ids"].tolist() == [[*range(11), *range(4), *range(4)]]
    seen = batch["attention_mask"][0, 0] == 0
    assert seen[11].tolist() == [False] * 11 + [True] + [False] * 7
    assert seen[18].tolist() == [False] * 15 + [True] * 4


def test_packing_changes_no_loss(model: torch.nn.Module) -> None:
    rows = [SHORT, LONG, SHORT, SHORT]
    with torch.no_grad():
        packed, padded = answer_loss(model, PACKER(rows)), answer_loss(model, COLLATOR(rows))
    assert packed.total.item() == pytest.approx(padded.total.item(), rel=1e-5)
    assert (packed.tokens, packed.correct) == (padded.tokens, padded.correct)


def test_no_token_of_a_row_is_predicted_from_another_row(model: torch.nn.Module) -> None:
    all_learnt = EncodedRow((4, 5, 6), (4, 5, 6), truncated=False)
    assert answer_loss(model, PACKER([all_learnt, all_learnt, LONG])).tokens == supervised_tokens(
        [all_learnt, all_learnt, LONG]
    )


def test_a_model_whose_attention_obeys_the_mask_keeps_rows_apart(model: torch.nn.Module) -> None:
    assert not leaks(model, 32)


class Forgetful(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """A model that drops its mask, as one without attention does."""

    def __init__(self, llama: torch.nn.Module) -> None:
        super().__init__()
        self.llama = llama

    def forward(self, input_ids: torch.Tensor, **ignored: Any) -> Any:
        return self.llama(input_ids=input_ids)


def test_a_model_that_ignores_the_mask_is_found_out(model: torch.nn.Module) -> None:
    with pytest.raises(BaseModelInvalid, match="packing: false"):
        require_isolation(Forgetful(model).eval(), 32, 64)


@pytest.mark.parametrize(
    ("config", "window"),
    [
        (MistralConfig(**_TINY, sliding_window=8), 8),
        (MistralConfig(**_TINY, sliding_window=None), None),
        (Qwen2Config(**_TINY, use_sliding_window=False, sliding_window=8), None),
        (Gemma3TextConfig(**_TINY, sliding_window=8, layer_types=["sliding_attention"]), 8),
        (Gemma3TextConfig(**_TINY, sliding_window=8, layer_types=["full_attention"]), None),
    ],
)
def test_rows_longer_than_a_models_window_are_not_packed(config: Any, window: int | None) -> None:
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    assert attention_window(model) == window
    require_isolation(model, 32, 8)
    if window is None:
        require_isolation(model, 32, 9)
    else:
        with pytest.raises(BaseModelInvalid, match="look back 8 tokens"):
            require_isolation(model, 32, 9)


def test_the_logits_are_those_that_predict_supervised_tokens_row_by_row(model: torch.nn.Module) -> None:
    logits, targets = answer_logits(model, COLLATOR([SHORT, LONG]))
    assert targets.tolist() == [7, 8, 15, 16, 19, 20]
    assert logits.shape == (6, 32)


def test_a_row_costs_the_same_alone_and_padded_beside_a_longer_one(model: torch.nn.Module) -> None:
    with torch.no_grad():
        alone = sum(answer_loss(model, COLLATOR([row])).total.item() for row in (SHORT, LONG))
        together = answer_loss(model, COLLATOR([SHORT, LONG])).total.item()
    assert together == pytest.approx(alone, rel=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_models_whole_output(model: torch.nn.Module) -> None:
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([LONG.input_ids])).logits[0, :-1]
        expected = torch.nn.functional.cross_entropy(whole, torch.tensor(LONG.labels[1:]), reduction="sum")
        assert answer_loss(model, COLLATOR([LONG])).total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_held_out_loss_is_a_sum_over_tokens_whatever_the_batch_size(model: torch.nn.Module) -> None:
    rows = [SHORT, LONG, SHORT]
    assert supervised_tokens(rows) == 8
    one, all_at_once = total_loss(model, rows, COLLATOR, 1).tolist(), total_loss(model, rows, COLLATOR, 3).tolist()
    assert (one[2], all_at_once[2]) == (8, 8)
    assert one[0] == pytest.approx(all_at_once[0], rel=0.02)  # measured in bfloat16
    assert not model.training


def test_a_first_token_has_nothing_to_be_predicted_from() -> None:
    assert supervised_tokens([EncodedRow((4, 5), (4, 5), truncated=False)]) == 1
