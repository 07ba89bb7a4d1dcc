"""Batches: padding changes nothing, and the loss is that of the assistant's tokens."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from training.data.encoding import IGNORED, EncodedRow
from training.tuning.batches import Collator, answer_logits, answer_loss, mean_loss, supervised_tokens

SHORT = EncodedRow((5, 6, 7, 8), (IGNORED, IGNORED, 7, 8), truncated=False)
LONG = EncodedRow(tuple(range(10, 21)), (IGNORED,) * 5 + (15, 16, IGNORED, IGNORED, 19, 20), truncated=False)
COLLATOR = Collator(pad_token_id=0)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """A random one-layer Llama in float32."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        attn_implementation="eager",
    )
    llama: torch.nn.Module = LlamaForCausalLM(config).eval()
    return llama


def test_answers_line_up_at_the_end_and_positions_start_at_the_first_real_token() -> None:
    batch = COLLATOR([SHORT, LONG])
    assert batch["input_ids"].shape == (2, 11)
    assert batch["input_ids"][0].tolist() == [0] * 7 + [5, 6, 7, 8]
    assert batch["labels"][0].tolist() == [IGNORED] * 9 + [7, 8]
    assert batch["attention_mask"][0].tolist() == [0] * 7 + [1] * 4
    assert batch["position_ids"][0].tolist() == [0] * 7 + [0, 1, 2, 3]


def test_the_logits_are_those_that_predict_supervised_tokens_row_by_row(model: torch.nn.Module) -> None:
    logits, targets = answer_logits(model, COLLATOR([SHORT, LONG]))
    assert targets.tolist() == [7, 8, 15, 16, 19, 20]
    assert logits.shape == (6, 32)


def test_a_row_costs_the_same_alone_and_padded_beside_a_longer_one(model: torch.nn.Module) -> None:
    with torch.no_grad():
        alone = sum(answer_loss(model, COLLATOR([row])).item() for row in (SHORT, LONG))
        together = answer_loss(model, COLLATOR([SHORT, LONG])).item()
    assert together == pytest.approx(alone, rel=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_models_whole_output(model: torch.nn.Module) -> None:
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([LONG.input_ids])).logits[0, :-1]
        expected = torch.nn.functional.cross_entropy(whole, torch.tensor(LONG.labels[1:]), reduction="sum")
        assert answer_loss(model, COLLATOR([LONG])).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_held_out_loss_is_a_mean_over_tokens_whatever_the_batch_size(model: torch.nn.Module) -> None:
    rows = [SHORT, LONG, SHORT]
    assert supervised_tokens(rows) == 8
    one, all_at_once = mean_loss(model, rows, COLLATOR, 1), mean_loss(model, rows, COLLATOR, 3)
    assert one == pytest.approx(all_at_once, rel=0.02)  # measured in bfloat16
    assert not model.training


def test_a_first_token_has_nothing_to_be_predicted_from() -> None:
    assert supervised_tokens([EncodedRow((4, 5), (4, 5), truncated=False)]) == 1
