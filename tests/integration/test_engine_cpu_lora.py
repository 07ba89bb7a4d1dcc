"""The base model's rows of a mixed batch stay as they are: vLLM's own plain-torch LoRA operations, mended."""

import warnings
from typing import Any

import pytest

from serving.engine.vllm_cpu_lora import mend_base_rows

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def operations() -> Any:
    with warnings.catch_warnings():
        # What vLLM and its dependencies warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        from vllm.lora.punica_wrapper import punica_cpu

        mend_base_rows()
        mend_base_rows()
    return punica_cpu


@pytest.mark.parametrize("prefill", [True, False])
def test_only_rows_of_an_adapter_change(operations: Any, prefill: bool) -> None:  # noqa: FBT001
    import torch

    torch.manual_seed(0)
    slots = torch.tensor([-1, 0, 1, -1])
    weights_a, weights_b = torch.randn(2, 1, 4, 8), torch.randn(2, 1, 6, 4)
    inputs, before = torch.randn(4, 8), torch.randn(4, 6)
    rank_space, output = torch.zeros(4, 4), before.clone()
    if prefill:
        lengths = torch.ones(4, dtype=torch.long)
        layout = (torch.arange(4), lengths, slots, 4, 1, 4)
        operations.sgmv_shrink(inputs, weights_a, rank_space, *layout, 1.0)
        operations.sgmv_expand_slice(rank_space, weights_b, output, *layout, 0, 6, True)
    else:
        operations.bgmv_shrink(inputs, weights_a, rank_space, slots, 1.0)
        operations.bgmv_expand_slice(rank_space, weights_b, output, slots, 0, 6, True)
    assert torch.equal(output[slots < 0], before[slots < 0])
    for row in (1, 2):
        slot = int(slots[row])
        expected = before[row] + weights_b[slot, 0] @ (weights_a[slot, 0] @ inputs[row])
        assert torch.allclose(output[row], expected, atol=1e-5)
