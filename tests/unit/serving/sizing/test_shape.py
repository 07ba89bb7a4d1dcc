"""What a checkpoint says of itself, against numbers computed by hand and against transformers' own account."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GemmaConfig, GPTNeoXConfig, LlamaConfig, MixtralConfig

from serving.sizing.errors import CannotSize
from serving.sizing.gpus import GPUS
from serving.sizing.plan import Engine, kv_bytes_per_token
from serving.sizing.shape import Attention, ModelShape, read_shape, shape_of_numbers
from tests.adapter_factory import Tensors, make_base, write_tensors

ENGINE = Engine(GPUS["L4"])


def saved(folder: Path, config: Any) -> tuple[ModelShape, Any]:
    """The shape of a model that transformers made and stored in bfloat16, and the model."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return read_shape(folder), model


SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 200,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize(
    ("config", "kv_bytes"),
    [
        # Grouped queries: 2 x 3 layers x 2 heads x 16 x 2 bytes.
        (LlamaConfig(**SMALL, num_key_value_heads=2), 384),
        # The same with tied embeddings.
        (LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=True), 384),
        # Every head has keys and values of its own: 2 x 3 x 4 x 16 x 2.
        (GPTNeoXConfig(**SMALL), 768),
        # One head of keys and values, of a size of its own: 2 x 3 x 1 x 32 x 2.
        (GemmaConfig(**SMALL, num_key_value_heads=1, head_dim=32), 384),
    ],
    ids=["grouped", "tied", "multi-head", "multi-query"],
)
def test_a_checkpoint_is_as_large_as_transformers_says(tmp_path: Path, config: Any, kv_bytes: int) -> None:
    shape, model = saved(tmp_path, config)

    assert shape.parameters == model.num_parameters()
    assert shape.weights_bytes(None) == 2 * model.num_parameters()
    assert shape.weights_bytes("float32") == 4 * model.num_parameters()
    assert kv_bytes_per_token(shape, ENGINE) == kv_bytes
    assert shape.max_positions == 512


def test_linear_layers_are_found_by_their_shapes(tmp_path: Path) -> None:
    shape, _ = saved(tmp_path, LlamaConfig(**SMALL, num_key_value_heads=2))
    a_layer = {"q_proj": 128, "k_proj": 96, "v_proj": 96, "o_proj": 128, "gate_proj": 192, "up_proj": 192}

    assert {module.name: module.inputs + module.outputs for module in shape.linear} == a_layer | {"down_proj": 192}
    assert len(shape.linear) == 3 * 7


def test_of_experts_a_token_uses_a_share(tmp_path: Path) -> None:
    config = MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    shape, model = saved(tmp_path, config)
    experts = 3 * 4 * 3 * 64 * 128

    assert shape.expert_parameters == experts
    assert shape.active_parameters == model.num_parameters() - experts / 2


def test_an_output_head_that_is_tied_and_stored_all_the_same_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    before = described(folder)
    write_tensors(folder / "extra.safetensors", {"lm_head.weight": ("BF16", (40, 16), bytes(40 * 16 * 2))})

    assert read_shape(folder).stored_bytes == before.stored_bytes


def test_weights_that_are_quantised_count_as_they_are_stored(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    before = described(folder, quantization_config={"bits": 4})
    packed: Tensors = {"model.layers.0.mlp.extra.qweight": ("I32", (2, 16), bytes(2 * 16 * 4))}
    write_tensors(folder / "packed.safetensors", packed)
    shape = read_shape(folder)

    assert shape.stored_bytes == before.stored_bytes + 128
    assert shape.parameters == before.parameters + 256
    assert shape.weights_bytes("float32") == 2 * before.stored_bytes + 128


def test_quantising_while_loading_leaves_what_is_not_linear_in_16_bits() -> None:
    shape = shape_of_numbers(8_000_000_000, 32, 4096, 32, 8, 14336)
    linear = sum(module.inputs * module.outputs for module in shape.linear)

    assert linear == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert shape.weights_bytes("fp8") == linear + 2 * (8_000_000_000 - linear)
    assert shape.weights_bytes("int4") == linear / 2 + 2 * (8_000_000_000 - linear)


# Attention of other kinds


def described(folder: Path, **config: Any) -> ModelShape:
    """A checkpoint of two layers whose ``config.json`` says this besides."""
    make_base(folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {"intermediate_size": 24, "num_attention_heads": 2} | config))
    return read_shape(folder)


def test_latent_attention_keeps_one_vector(tmp_path: Path) -> None:
    shape = described(tmp_path, kv_lora_rank=512, qk_rope_head_dim=64)

    assert kv_bytes_per_token(shape, ENGINE) == 2 * (512 + 64) * 2


@pytest.mark.parametrize(
    ("config", "attention"),
    [
        ({"sliding_window": 128}, Attention(0, 2, 8, 2, 128)),
        ({"sliding_window": 128, "use_sliding_window": False}, Attention(2, 2, 8)),
        ({"sliding_window": None}, Attention(2, 2, 8)),
        ({"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}, Attention(1, 2, 8, 1, 64)),
    ],
)
def test_layers_with_a_window_are_told_apart(tmp_path: Path, config: dict[str, Any], attention: Attention) -> None:
    assert described(tmp_path, **config).attention == attention


def test_a_model_that_also_sees_is_measured_by_its_text_part(tmp_path: Path) -> None:
    text = {"hidden_size": 16, "num_hidden_layers": 5, "num_attention_heads": 2, "vocab_size": 40}

    assert described(tmp_path, text_config=text).attention == Attention(5, 2, 8)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"layer_types": ["linear_attention", "full_attention"]}, "without a cache for each token (linear_attention)"),
        ({"mamba_d_state": 16}, "without a cache for each token (mamba_d_state)"),
        ({"is_encoder_decoder": True}, "encoder-decoder"),
        ({"num_hidden_layers": "two"}, "no number `num_hidden_layers`"),
        ({"hidden_size": None}, "no number `hidden_size`"),
    ],
)
def test_what_cannot_be_counted_is_refused(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    with pytest.raises(CannotSize) as caught:
        described(tmp_path, **config)

    assert told in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotSize, match=r"config\.json cannot be read"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CannotSize, match="not a JSON object"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CannotSize, match="holds no safetensors weights"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CannotSize, match="cannot be read"):
        read_shape(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [((8e9, 32, 4096, 33, 8, None), "do not divide"), ((1e9, 32, 4096, 32, 8, None), "more than 1,000,000,000")],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: Any, told: str) -> None:
    with pytest.raises(CannotSize, match=told):
        shape_of_numbers(*numbers)
