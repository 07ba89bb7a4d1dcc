"""Ways to spoil a valid adapter. Each one must be refused by its own code, with a sentence that names the cause."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.tensors import open_tensors
from tests.adapter_factory import Tensors, encode, write_tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class Mutation:
    """One way to spoil the folder of a valid adapter, in place."""

    name: str
    code: str
    """The error code that it must be refused with."""
    says: str
    """Words that the refusal must contain."""
    spoil: Spoil


MUTATIONS: list[Mutation] = []


def _mutation(code: str, says: str, name: str = "") -> Callable[[Spoil], Spoil]:
    def register(spoil: Spoil) -> Spoil:
        MUTATIONS.append(Mutation(name or spoil.__name__.strip("_"), code, says, spoil))
        return spoil

    return register


def _config(name: str, code: str, says: str, **changes: Any) -> None:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def _without(name: str, code: str, says: str, field: str) -> None:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != field}))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, ready to be changed and written again."""
    file = open_tensors(path)
    return {name: (info.dtype, info.shape, file.raw(name).tobytes()) for name, info in file.tensors.items()}


def _tensors(name: str, code: str, says: str, change: Callable[[Tensors], Tensors]) -> None:
    def spoil(folder: Path) -> None:
        write_tensors(folder / WEIGHTS, change(read_tensors(folder / WEIGHTS)))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def _header(name: str, code: str, says: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of the weights and leave the data as it is."""

    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])

    MUTATIONS.append(Mutation(name, code, says, spoil))


def _renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {name.replace(old, new): value for name, value in tensors.items()}


def _first(tensors: Tensors, suffix: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(suffix))


def _values(dtype: str, shape: tuple[int, ...], value: float) -> tuple[str, tuple[int, ...], bytes]:
    return dtype, shape, encode(np.full(math.prod(shape), value, dtype=np.float32), dtype)


def _poisoned(value: float, dtype: str) -> Callable[[Tensors], Tensors]:
    """All tensors in ``dtype``, the last value of one of them replaced."""

    def change(tensors: Tensors) -> Tensors:
        spoiled = {name: _values(dtype, shape, 0.01) for name, (_, shape, _) in tensors.items()}
        name = _first(tensors, "lora_B.weight")
        shape = tensors[name][1]
        values = np.full(math.prod(shape), 0.01, dtype=np.float32)
        values[-1] = value
        spoiled[name] = (dtype, shape, encode(values, dtype))
        return spoiled

    return change


def _zeroed(*sides: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {
        name: _values(dtype, shape, -0.0) if any(f"lora_{side}" in name for side in sides) else (dtype, shape, data)
        for name, (dtype, shape, data) in tensors.items()
    }


def _disjoint(tensors: Tensors) -> Tensors:
    """A uses only the first index of the rank, B only the second: their product is zero, though neither is."""
    spoiled: Tensors = {}
    for name, (dtype, shape, _) in tensors.items():
        values = np.zeros(shape, dtype=np.float32)
        if "lora_A" in name:
            values[0, :] = 1
        else:
            values[:, 1] = 1
        spoiled[name] = (dtype, shape, encode(values, dtype))
    return spoiled


def _resized(side: str, axis: int, by: int, only: str = "") -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        spoiled = dict(tensors)
        for name, (dtype, shape, _) in tensors.items():
            if f"lora_{side}" in name and only in name:
                grown = tuple(size + by * (index == axis) for index, size in enumerate(shape))
                spoiled[name] = _values(dtype, grown, 0.01)
        return spoiled

    return change


def _with(name: str, dtype: str = "F32", shape: tuple[int, ...] = (4, 4)) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: (dtype, shape, b"\x01" * (math.prod(shape) * 4))}


def _in_dtype(dtype: str, size: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {
        name: (dtype, shape, b"\x01" * (math.prod(shape) * size)) for name, (_, shape, _) in tensors.items()
    }


def _dropped(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if not all(part in name for part in parts)}


def _cut(keep: Callable[[int], int]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS
        os.truncate(path, keep(path.stat().st_size))

    return spoil


# Pickled weights


@_mutation("pickle_weights", "adapter_model.bin holds pickled weights")
def _pickle_bin_instead_of_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


@_mutation("pickle_weights", "adapter_model.bin holds pickled weights")
def _pickle_bin_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04K\x01.")


@_mutation("pickle_weights", "adapter_model.pt holds pickled weights")
def _pickle_pt_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.pt").write_bytes(b"PK\x03\x04")


@_mutation("pickle_weights", "adapter_model.pth holds pickled weights")
def _pickle_pth_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.pth").write_bytes(b"PK\x03\x04")


@_mutation("pickle_weights", "weights/extra.pkl holds pickled weights")
def _pickle_in_a_subfolder(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "extra.pkl").write_bytes(b"\x80\x04K\x01.")


@_mutation("pickle_weights", "pickle under another name")
def _zip_pickle_named_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"PK\x03\x04" + bytes(64))


@_mutation("pickle_weights", "pickle under another name")
def _plain_pickle_named_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00." + bytes(32))


# Wrong base model

_config("other_hub_id", "wrong_base_model_name", "google/gemma-2-2b", base_model_name_or_path="google/gemma-2-2b")
_config("other_bare_name", "wrong_base_model_name", "gpt2", base_model_name_or_path="gpt2")
_config("base_name_is_no_text", "config_invalid", "base_model_name_or_path", base_model_name_or_path=7)
_tensors("inputs_of_another_base", "wrong_base_model", "features in", _resized("A", 1, 8))
_tensors("outputs_of_another_base", "wrong_base_model", "features in", _resized("B", 0, 8))
_tensors("mlp_of_another_base", "wrong_base_model", "up_proj has", _resized("B", 0, 8, "up_proj"))
_tensors(
    "modules_of_another_base",
    "wrong_base_model",
    "exists in the base model",
    lambda tensors: _renamed(tensors, "model.layers.", "transformer.h."),
)

# Rank and alpha

_config("rank_over_the_limit", "rank_too_large", "above the limit", r=1024)
_config("rank_pattern_over_the_limit", "rank_too_large", "above the limit", rank_pattern={"q_proj": 1024})
_config("rank_zero", "rank_invalid", "whole number above 0", r=0)
_config("rank_negative", "rank_invalid", "whole number above 0", r=-8)
_config("rank_fraction", "rank_invalid", "whole number above 0", r=7.5)
_config("rank_text", "rank_invalid", "whole number above 0", r="8")
_config("rank_true", "rank_invalid", "whole number above 0", r=True)
_config("rank_pattern_zero", "rank_invalid", "whole number above 0", rank_pattern={"q_proj": 0})
_without("rank_missing", "rank_invalid", "whole number above 0", "r")
_config("rank_other_than_weights", "rank_mismatch", "adapter_config.json says 2", r=2)
_config("rank_pattern_other_than_weights", "rank_mismatch", "says 2", rank_pattern={"v_proj": 2})
_config("rank_pattern_no_map", "config_invalid", "rank_pattern", rank_pattern=[8])
_config("rank_pattern_never_ends", "pattern_invalid", "too long", rank_pattern={"(((a|.)*)*)*!": 8})
_config("rank_pattern_no_regex", "pattern_invalid", "not a regular expression", rank_pattern={"(": 8})
_config("alpha_zero", "alpha_zero", "changes nothing", lora_alpha=0)
_config("alpha_text", "alpha_invalid", "must be a number", lora_alpha="16")
_config("alpha_not_a_number", "alpha_invalid", "must be a number", lora_alpha=math.nan)
_without("alpha_missing", "alpha_invalid", "must be a number", "lora_alpha")
_config("alpha_pattern_scales_otherwise", "scaling_pattern", "the engine scales", alpha_pattern={"q_proj": 3})
_config("alpha_pattern_zero", "alpha_zero", "changes nothing", alpha_pattern={"q_proj": 0})

# Target modules

_config("target_unknown", "unknown_target_module", "names w_qkv", target_modules=["q_proj", "w_qkv"])
_config("target_pattern_matches_nothing", "unknown_target_module", "names .*attention", target_modules=".*attention")
_config("target_not_in_weights", "module_not_targeted", "`target_modules` does not name", target_modules=["q_proj"])
_config("targets_empty", "target_modules_invalid", "must list the names", target_modules=[])
_config("targets_no_text", "target_modules_invalid", "must list the names", target_modules=[1])
_without("targets_missing", "target_modules_invalid", "must list the names", "target_modules")
_config("target_embeddings", "embedding_lora", "embed_tokens", target_modules=["q_proj", "embed_tokens"])
_config("target_lm_head", "embedding_lora", "lm_head", target_modules=["q_proj", "lm_head"])
_config("one_layer_only", "module_not_targeted", "does not name", layers_to_transform=[0])
_config("layers_no_numbers", "config_invalid", "layers_to_transform", layers_to_transform=["all"])

# Tensors that match only in part

_tensors("one_target_without_weights", "target_without_weights", "names down_proj", _dropped("down_proj"))
_tensors("one_layer_missing", "layers_missing", "layers.1.", _dropped("layers.1."))
_tensors("one_module_missing", "layers_missing", "layers.1.mlp.up_proj", _dropped("layers.1.mlp.up_proj"))
_tensors("lora_a_alone", "tensor_pair", "lora_A without lora_B", _dropped("layers.0.self_attn.q_proj", "lora_B"))
_tensors("lora_b_alone", "tensor_pair", "lora_B without lora_A", _dropped("layers.0.self_attn.q_proj", "lora_A"))
_tensors("no_tensors", "no_tensors", "no tensors at all", lambda tensors: {})
_tensors(
    "layer_beyond_the_last",
    "unknown_module",
    "layers.99.",
    lambda tensors: {**tensors, **_renamed({n: v for n, v in tensors.items() if "layers.1." in n}, "rs.1.", "rs.99.")},
)
_tensors(
    "adapter_name_in_tensor_names",
    "tensor_name",
    "lora_A.default.weight",
    lambda tensors: _renamed(_renamed(tensors, "lora_A.", "lora_A.default."), "lora_B.", "lora_B.default."),
)
_tensors("a_and_b_of_other_ranks", "tensor_rank", "must agree", _resized("A", 0, 1, "layers.0.self_attn.q_proj"))
_tensors("one_misshapen_module", "tensor_shape", "other than its neighbours", _resized("B", 0, 8, "layers.0.mlp.up"))
_tensors(
    "a_vector",
    "tensor_rank",
    "must be matrices",
    lambda tensors: {
        name: (dtype, (math.prod(shape),), data) if name == _first(tensors, "lora_A.weight") else (dtype, shape, data)
        for name, (dtype, shape, data) in tensors.items()
    },
)

# Features that the engine does not serve

_config("dora", "dora", "DoRA is not served", use_dora=True)
_tensors(
    "dora_tensor_only",
    "dora",
    "DoRA, which is not served",
    _with("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"),
)
_config("modules_to_save", "modules_to_save", "modules_to_save", modules_to_save=["lm_head"])
_tensors(
    "full_module_only", "modules_to_save", "a weight of the model itself", _with("base_model.model.lm_head.weight")
)
_config("bias_all", "bias", "trained biases are not served", bias="all")
_config("bias_lora_only", "bias", "trained biases are not served", bias="lora_only")
_config("lora_bias", "bias", "lora_bias", lora_bias=True)
_tensors(
    "bias_tensor_only",
    "bias",
    "a trained bias",
    _with("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias"),
)
_tensors(
    "embedding_tensors",
    "embedding_lora",
    "changes the embeddings",
    _with("base_model.model.model.embed_tokens.lora_embedding_A"),
)
_config("pissa", "init_changes_base", "pissa", init_lora_weights="pissa_niter_4")
_config("olora", "init_changes_base", "olora", init_lora_weights="olora")
_config("loftq", "init_changes_base", "loftq", init_lora_weights="loftq")
_config("corda", "init_changes_base", "corda", init_lora_weights="corda")
_config("unknown_init", "init_unknown", "zebra", init_lora_weights="zebra")
_config("prompt_tuning", "peft_type", "PROMPT_TUNING", peft_type="PROMPT_TUNING")
_config("ia3", "peft_type", "IA3", peft_type="IA3")
_config("classifier", "task_type", "SEQ_CLS", task_type="SEQ_CLS")
_config("trained_tokens", "trainable_tokens", "trainable_token_indices", trainable_token_indices=[1, 2])
_config("layer_replication", "layer_replication", "deeper model", layer_replication=[[0, 1], [0, 2]])
_config("bare_parameters", "target_parameters", "target_parameters", target_parameters=["experts.down_proj"])
_config("activated_lora", "lora_variant", "activated LoRA", alora_invocation_tokens=[1, 2, 3])
_config("qalora", "lora_variant", "use_qalora", use_qalora=True)
_config("unknown_setting", "unknown_setting", "use_tomorrows_lora", use_tomorrows_lora=True)


@_mutation("added_tokens", "adds tokens to the vocabulary")
def _new_embeddings(folder: Path) -> None:
    write_tensors(folder / "new_embeddings.safetensors", {})


# Damaged files

MUTATIONS += [
    Mutation("weights_cut_in_the_data", "weights_truncated", "cut short", _cut(lambda size: size - 1)),
    Mutation("weights_cut_in_half", "weights_truncated", "cut short", _cut(lambda size: size // 2 + 4096)),
    Mutation("weights_cut_in_the_header", "weights_truncated", "ends inside its header", _cut(lambda size: 100)),
    Mutation("weights_of_five_bytes", "weights_truncated", "only 5 bytes", _cut(lambda size: 5)),
    Mutation("weights_empty", "weights_empty", "is empty", _cut(lambda size: 0)),
    Mutation("weights_oversize", "too_large", "above the limit", _cut(lambda size: 1 << 43)),
]


@_mutation("weights_trailing_bytes", "belong to no tensor behind its last one")
def _trailing_bytes(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * 16)


@_mutation("header_too_large", "claims a header of")
def _huge_header(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((1 << 60).to_bytes(8, "little") + data[8:])


@_mutation("header_corrupt", "not valid JSON")
def _header_is_noise(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[8:40] = bytes(range(224, 256))
    (folder / WEIGHTS).write_bytes(data)


@_mutation("header_corrupt", "not a JSON object")
def _header_is_a_list(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]")


@_mutation("header_corrupt", "appears twice")
def _tensor_described_twice(folder: Path) -> None:
    text = b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))


@_mutation("header_corrupt", "not valid JSON")
def _header_nested_without_end(folder: Path) -> None:
    text = b"[" * 200_000
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text)


def _entry(header: dict[str, Any], suffix: str = "lora_A.weight") -> dict[str, Any]:
    found: dict[str, Any] = header[_first(header, suffix)]
    return found


def _shift(header: dict[str, Any], by: int, suffix: str = "lora_A.weight") -> None:
    entry = _entry(header, suffix)
    entry["data_offsets"] = [offset + by for offset in entry["data_offsets"]]


_header("shape_larger_than_data", "tensor_span_invalid", "needs", lambda h: _entry(h).update(shape=[4096, 4096]))
_header("shape_negative", "tensor_span_invalid", "not a count", lambda h: _entry(h).update(shape=[-1, -16]))
_header("shape_fraction", "tensor_span_invalid", "not a count", lambda h: _entry(h).update(shape=[1.5, 2]))
_header("shape_no_list", "header_corrupt", "does not describe", lambda h: _entry(h).update(shape=None))
_header("dtype_unknown", "header_corrupt", "does not describe", lambda h: _entry(h).update(dtype="F12"))
_header("offsets_missing", "header_corrupt", "does not describe", lambda h: _entry(h).pop("data_offsets"))
_header("offsets_backwards", "tensor_span_invalid", "needs", lambda h: _entry(h)["data_offsets"].reverse())
_header("offsets_overlap", "tensor_overlap", "overlaps", lambda h: _shift(h, -4, "lora_B.weight"))
_header("offsets_beyond_the_end", "tensor_span_invalid", "belong to no tensor", lambda h: _shift(h, 1 << 40))
_header("metadata_no_strings", "header_corrupt", "map of strings", lambda h: h.update(__metadata__={"a": 1}))

# Values

_tensors("nan_in_float32", "non_finite_weights", "NaN or infinity", _poisoned(math.nan, "F32"))
_tensors("infinity_in_float32", "non_finite_weights", "NaN or infinity", _poisoned(-math.inf, "F32"))
_tensors("nan_in_float16", "non_finite_weights", "NaN or infinity", _poisoned(math.nan, "F16"))
_tensors("infinity_in_float16", "non_finite_weights", "NaN or infinity", _poisoned(math.inf, "F16"))
_tensors("nan_in_bfloat16", "non_finite_weights", "NaN or infinity", _poisoned(math.nan, "BF16"))
_tensors("infinity_in_bfloat16", "non_finite_weights", "NaN or infinity", _poisoned(math.inf, "BF16"))
_tensors("float8", "tensor_dtype", "F8_E4M3", _in_dtype("F8_E4M3", 1))
_tensors("integers", "tensor_dtype", "I8", _in_dtype("I8", 1))
_tensors("lora_b_all_zero", "no_effect", "changes nothing", _zeroed("B"))
_tensors("lora_a_all_zero", "no_effect", "changes nothing", _zeroed("A"))
_tensors("all_zero", "no_effect", "changes nothing", _zeroed("A", "B"))
_tensors("product_zero", "no_effect", "changes nothing", _disjoint)

# The folder


@_mutation("config_missing", "adapter_config.json is missing")
def _config_missing(folder: Path) -> None:
    (folder / CONFIG).unlink()


@_mutation("weights_missing", "adapter_model.safetensors is missing")
def _weights_missing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@_mutation("config_invalid", "is empty")
def _config_empty(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"")


@_mutation("config_invalid", "is not valid JSON")
def _config_cut_short(folder: Path) -> None:
    os.truncate(folder / CONFIG, 20)


@_mutation("config_invalid", "is not valid JSON")
def _config_is_binary(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00\x01")


@_mutation("config_invalid", "is not a JSON object")
def _config_is_a_list(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")


@_mutation("config_too_large", "above the limit")
def _config_huge(folder: Path) -> None:
    os.truncate(folder / CONFIG, 2 * 1024 * 1024)


@_mutation("sharded_weights", "split over several files")
def _weights_in_shards(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model-00001-of-00002.safetensors")


@_mutation("path_escape", "leads out of the folder")
def _weights_link_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-outside.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


@_mutation("path_escape", "leads out of the folder")
def _config_link_out_of_the_folder(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to("/etc/passwd")


@_mutation("path_escape", "leads out of the folder")
def _link_to_a_folder_outside(folder: Path) -> None:
    (folder / "more").symlink_to("/")


@_mutation("path_escape", "leads out of the folder")
def _relative_link_out_of_the_folder(folder: Path) -> None:
    (folder / "notes.md").symlink_to("../../../../../../../../etc/hostname")


@_mutation("broken_link", "leads nowhere")
def _link_to_nothing(folder: Path) -> None:
    (folder / "README.md").symlink_to("missing.md")


@_mutation("broken_link", "leads nowhere")
def _link_to_itself(folder: Path) -> None:
    (folder / "README.md").symlink_to("README.md")


@_mutation("special_file", "a pipe, socket or device")
def _weights_are_a_pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


@_mutation("special_file", "is a folder")
def _weights_are_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


@_mutation("record_invalid", "metrics.json is not valid JSON")
def _metrics_are_no_json(folder: Path) -> None:
    (folder / "metrics.json").write_text("{")


@_mutation("record_invalid", "uses YAML aliases")
def _recipe_explodes(folder: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (folder / "recipe.yaml").write_text("\n".join(lines))


@_mutation("too_many_files", "more than 1000 files")
def _some_other_folder(folder: Path) -> None:
    for number in range(1001):
        (folder / f"page-{number}.txt").touch()
