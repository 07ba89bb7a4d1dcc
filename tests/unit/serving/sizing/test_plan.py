"""The calculator's arithmetic, against numbers computed by hand."""

from dataclasses import replace

import pytest

from serving.sizing.errors import CannotSize
from serving.sizing.gpus import GPUS
from serving.sizing.plan import GIB, Adapters, Engine, Plan, Traffic, make_plan
from serving.sizing.shape import Attention, LinearModule, ModelShape, shape_of_numbers

LLAMA_8B = replace(shape_of_numbers(8_030_261_248, 32, 4096, 32, 8, 14336), vocabulary=128_256, max_positions=131_072)
SMOL = replace(shape_of_numbers(134_515_008, 30, 576, 9, 3, 1536), vocabulary=49_152, max_positions=8192)


def plan_of(shape: ModelShape = LLAMA_8B, gpu: str = "H100", **options: object) -> Plan:
    """A plan with adapters and the default traffic; options of the engine, the adapters or the traffic by name."""
    parts: list[object] = [Engine(GPUS[gpu], max_model_len=8192), Adapters(), Traffic()]
    for name, value in options.items():
        parts = [replace(part, **{name: value}) if hasattr(part, name) else part for part in parts]  # type: ignore[type-var]
    return make_plan(shape, *parts)  # type: ignore[arg-type]


def test_the_memory_of_a_model_of_8_billion_on_one_h100() -> None:
    plan = plan_of()

    assert plan.value("weights") == 2 * 8_030_261_248
    assert plan.value("KV bytes per token") == 2 * 32 * 8 * 128 * 2 == 131_072
    assert plan.value("activations") == 8192 * (4 * 4096 + 3 * 14336) * 2 + 256 * 128_256 * 4
    every = 32 * ((4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3)
    assert plan.value("adapter slots") == 4 * 16 * (every + 2 * (128_256 + 4096)) * 2
    assert plan.value("adapters on the CPU") == 8 * 16 * every * 2
    names = ("weights", "activations", "context", "adapter slots")
    assert plan.value("KV cache") == 81_559 * 1024**2 * 0.9 - sum(map(plan.value, names))


def test_adapter_slots_are_as_large_as_vllm_made_them() -> None:
    # vLLM 0.29 on SmolLM2-135M, max_loras=2, max_lora_rank=16: all `lora_a_stacked` and `lora_b_stacked` together.
    assert plan_of(SMOL, "L4", slots=2).value("adapter slots") == 25_903_104


def test_a_version_that_changes_few_modules_takes_less_on_the_cpu_and_as_much_in_its_slot() -> None:
    whole, part = plan_of(), plan_of(targets=("q_proj", "v_proj"), rank=8)

    assert part.value("adapters on the CPU") == 8 * 8 * 32 * (4096 + 4096 + 4096 + 1024) * 2
    assert part.value("adapter slots") == whole.value("adapter slots")


def test_without_adapters_nothing_is_kept_for_them() -> None:
    plan = make_plan(LLAMA_8B, Engine(GPUS["H100"], max_model_len=8192), None, Traffic())

    assert not [step for step in plan.steps if "adapter" in step.name]


def test_a_replica_takes_as_few_gpus_as_fit() -> None:
    assert plan_of(gpu="L4").gpus == 1
    assert plan_of(gpu="T4").gpus == 2
    large = shape_of_numbers(70_000_000_000, 80, 8192, 64, 8, 28672)
    assert plan_of(large, "H100").gpus == 2
    assert plan_of(large, "H100", max_model_len=32_768).gpus == 4
    assert plan_of(gpu="L4", gpus=4).gpus == 4


def test_heads_that_are_fewer_than_gpus_are_kept_several_times() -> None:
    shape = replace(shape_of_numbers(8_000_000_000, 32, 4096, 32, 2, 14336), vocabulary=100)
    four = plan_of(shape, "L4", gpus=4, max_num_seqs=100_000)

    room = four.value("KV cache") * 4
    assert four.value("requests at once") == room // 2 // four.value("KV bytes per request")


def test_the_cache_is_counted_in_whole_blocks() -> None:
    assert plan_of(prompt_tokens=1000, completion_tokens=1).value("KV bytes per request") == 1008 * 131_072


def test_layers_with_a_window_keep_no_more_than_it() -> None:
    windowed = replace(LLAMA_8B, attention=Attention(16, 8, 128, windowed=16, window=512))
    plan = plan_of(windowed, prompt_tokens=3900, completion_tokens=100)

    assert plan.value("KV bytes per request") == 4096 * (16 * 4000 + 16 * (512 + 16))
    assert plan.notes == ["16 layers see 512 tokens alone, and keep no more."]


def test_a_cache_of_eight_bits_takes_half() -> None:
    assert plan_of(kv_dtype="fp8").value("KV bytes per token") == 65_536
    assert plan_of(dtype="int4").value("KV bytes per token") == 131_072


def test_the_estimate_of_speed_is_bandwidth_or_arithmetic() -> None:
    plan = plan_of(prompt_tokens=1000, completion_tokens=200, max_num_seqs=64)
    read = 2 * 8_030_261_248 + 64 * 1100 * 131_072
    step = read / (3_350e9 * 0.6)
    prefill = 2 * 8_030_261_248 * 1000 / (989e12 * 0.4)

    assert plan.value("decode step") == pytest.approx(step)
    assert plan.value("prefill") == pytest.approx(prefill)
    assert plan.value("tokens per second") == pytest.approx(200 / (prefill + 200 * step / 64))


def test_replicas_follow_the_rate_and_leave_room() -> None:
    assert plan_of(tokens_per_second=1000.0, completion_tokens=250, requests_s=2.8).replicas == 1
    assert plan_of(tokens_per_second=1000.0, completion_tokens=250, requests_s=2.9).replicas == 2
    assert plan_of(requests_s=0.01).replicas == 1


def test_replicas_have_room_for_all_who_ask_at_once() -> None:
    plan = plan_of(concurrent=1000, max_num_seqs=256)

    assert plan.value("requests at once") == 256
    assert plan.replicas == 4


def test_notes_say_what_the_numbers_leave_out() -> None:
    latent = replace(LLAMA_8B, attention=Attention(32, 1, 0, latent=576), expert_share=0.25, expert_parameters=1)
    notes = " ".join(plan_of(latent, "T4", dtype="bfloat16", gpus=4).notes)

    assert "latent attention is not split" in notes
    assert "experts" in notes
    assert "A T4 has no bfloat16" in notes


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(CannotSize) as caught:
        plan_of(gpu="T4", gpus=1)
    assert "1 x T4 leave 0.0 GiB for the KV cache, and one request of 8192 tokens takes 1.0 GiB" in str(caught.value)
    with pytest.raises(CannotSize, match="9000 tokens together, and the model takes 8192 at most"):
        plan_of(prompt_tokens=8000, completion_tokens=1000)
    with pytest.raises(CannotSize, match="no module qkv; it has down_proj, gate_proj"):
        plan_of(targets=("qkv",))
    with pytest.raises(CannotSize, match="pass --slots 0"):
        plan_of(replace(LLAMA_8B, linear=()))


def test_a_plan_adds_up() -> None:
    plan = plan_of(gpu="H200")
    parts = [step.value for step in plan.steps[:6] if step.name != "adapters on the CPU"]

    assert sum(parts) == pytest.approx(143_771 * 1024**2 * 0.9)
    assert plan.value("weights") / GIB == pytest.approx(14.96, abs=0.01)
    assert all(step.formula for step in plan.steps)
    assert LinearModule("q_proj", 4096, 4096) in LLAMA_8B.linear
