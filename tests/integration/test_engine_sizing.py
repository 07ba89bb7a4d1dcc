"""The calculator's numbers beside what vLLM itself says of SmolLM2-135M, and what the checkpoint's own library says."""

import os
import re
from pathlib import Path

import pytest

from serving.engine.vllm import VllmEngine
from serving.sizing.gpus import GPUS
from serving.sizing.plan import GIB, Engine, kv_bytes_per_token
from serving.sizing.shape import read_shape

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


async def test_vllm_makes_as_many_cache_blocks_as_are_computed(vllm_engine: VllmEngine, base_checkpoint: Path) -> None:
    [info] = re.findall(r"^vllm:cache_config_info\{(.*)\} 1", vllm_engine.metrics_text().decode(), re.MULTILINE)
    told = dict(re.findall(r'(\w+)="([^"]*)"', info))
    a_token = kv_bytes_per_token(read_shape(base_checkpoint), Engine(GPUS["L4"]))
    space = int(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")) * GIB

    assert int(told["num_gpu_blocks"]) == space // (int(told["block_size"]) * a_token)


async def test_the_weights_are_as_large_as_they_load(base_checkpoint: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base_checkpoint, dtype="auto")
    shape = read_shape(base_checkpoint)

    assert shape.parameters == model.num_parameters()
    assert shape.weights_bytes(None) == sum(one.nbytes for one in model.parameters())
