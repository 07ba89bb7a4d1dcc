"""Ways to spoil the files of a valid adapter, whatever they say: pickles, damage, links and what does not belong."""

import os
from pathlib import Path
from typing import Any

from tests.adapter_factory import write_tensors
from tests.adapter_spoiling import CONFIG, MUTATIONS, WEIGHTS, Mutation, cut_weights, first, mutation, spoil_header

# Pickled weights


@mutation("pickle_weights", "adapter_model.bin holds pickled weights")
def _pickle_bin_instead_of_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


@mutation("pickle_weights", "adapter_model.bin holds pickled weights")
def _pickle_bin_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04K\x01.")


@mutation("pickle_weights", "adapter_model.pt holds pickled weights")
def _pickle_pt_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.pt").write_bytes(b"PK\x03\x04")


@mutation("pickle_weights", "adapter_model.pth holds pickled weights")
def _pickle_pth_beside_safetensors(folder: Path) -> None:
    (folder / "adapter_model.pth").write_bytes(b"PK\x03\x04")


@mutation("pickle_weights", "weights/extra.pkl holds pickled weights")
def _pickle_in_a_subfolder(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "extra.pkl").write_bytes(b"\x80\x04K\x01.")


@mutation("pickle_weights", "pickle under another name")
def _zip_pickle_named_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"PK\x03\x04" + bytes(64))


@mutation("pickle_weights", "pickle under another name")
def _plain_pickle_named_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00." + bytes(32))


@mutation("added_tokens", "adds tokens to the vocabulary")
def _new_embeddings(folder: Path) -> None:
    write_tensors(folder / "new_embeddings.safetensors", {})


# Damaged files

MUTATIONS += [
    Mutation("weights_cut_in_the_data", "weights_truncated", "cut short", cut_weights(lambda size: size - 1)),
    Mutation("weights_cut_in_half", "weights_truncated", "cut short", cut_weights(lambda size: size // 2 + 4096)),
    Mutation("weights_cut_in_the_header", "weights_truncated", "ends inside its header", cut_weights(lambda size: 100)),
    Mutation("weights_of_five_bytes", "weights_truncated", "only 5 bytes", cut_weights(lambda size: 5)),
    Mutation("weights_empty", "weights_empty", "is empty", cut_weights(lambda size: 0)),
    Mutation("weights_oversize", "too_large", "above the limit", cut_weights(lambda size: 1 << 36)),
]


@mutation("weights_trailing_bytes", "belong to no tensor behind its last one")
def _trailing_bytes(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * 16)


@mutation("header_too_large", "claims a header of")
def _huge_header(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((1 << 60).to_bytes(8, "little") + data[8:])


@mutation("header_corrupt", "not valid JSON")
def _header_is_noise(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[8:40] = bytes(range(224, 256))
    (folder / WEIGHTS).write_bytes(data)


@mutation("header_corrupt", "not a JSON object")
def _header_is_a_list(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]")


@mutation("header_corrupt", "appears twice")
def _tensor_described_twice(folder: Path) -> None:
    text = b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))


@mutation("header_corrupt", "not valid JSON")
def _header_nested_without_end(folder: Path) -> None:
    text = b"[" * 200_000
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text)


def _entry(header: dict[str, Any], suffix: str = "lora_A.weight") -> dict[str, Any]:
    found: dict[str, Any] = header[first(header, suffix)]
    return found


def _shift(header: dict[str, Any], by: int, suffix: str = "lora_A.weight") -> None:
    entry = _entry(header, suffix)
    entry["data_offsets"] = [offset + by for offset in entry["data_offsets"]]


spoil_header("shape_larger_than_data", "tensor_span_invalid", "needs", lambda h: _entry(h).update(shape=[4096, 4096]))
spoil_header("shape_negative", "tensor_span_invalid", "not a count", lambda h: _entry(h).update(shape=[-1, -16]))
spoil_header("shape_fraction", "tensor_span_invalid", "not a count", lambda h: _entry(h).update(shape=[1.5, 2]))
spoil_header("shape_no_list", "header_corrupt", "does not describe", lambda h: _entry(h).update(shape=None))
spoil_header("dtype_unknown", "header_corrupt", "does not describe", lambda h: _entry(h).update(dtype="F12"))
spoil_header("offsets_missing", "header_corrupt", "does not describe", lambda h: _entry(h).pop("data_offsets"))
spoil_header("offsets_backwards", "tensor_span_invalid", "needs", lambda h: _entry(h)["data_offsets"].reverse())
spoil_header("offsets_overlap", "tensor_overlap", "overlaps", lambda h: _shift(h, -4, "lora_B.weight"))
spoil_header("offsets_beyond_the_end", "tensor_span_invalid", "belong to no tensor", lambda h: _shift(h, 1 << 40))
spoil_header("metadata_no_strings", "header_corrupt", "map of strings", lambda h: h.update(__metadata__={"a": 1}))

# The folder


@mutation("config_missing", "adapter_config.json is missing")
def _config_missing(folder: Path) -> None:
    (folder / CONFIG).unlink()


@mutation("weights_missing", "adapter_model.safetensors is missing")
def _weights_missing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@mutation("config_invalid", "is empty")
def _config_empty(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"")


@mutation("config_invalid", "is not valid JSON")
def _config_cut_short(folder: Path) -> None:
    os.truncate(folder / CONFIG, 20)


@mutation("config_invalid", "is not valid JSON")
def _config_is_binary(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00\x01")


@mutation("config_invalid", "is not a JSON object")
def _config_is_a_list(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")


@mutation("config_too_large", "above the limit")
def _config_huge(folder: Path) -> None:
    os.truncate(folder / CONFIG, 2 * 1024 * 1024)


@mutation("sharded_weights", "split over several files")
def _weights_in_shards(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model-00001-of-00002.safetensors")


@mutation("path_escape", "leads out of the folder")
def _weights_link_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-outside.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


@mutation("path_escape", "leads out of the folder")
def _config_link_out_of_the_folder(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to("/etc/passwd")


@mutation("path_escape", "leads out of the folder")
def _link_to_a_folder_outside(folder: Path) -> None:
    (folder / "more").symlink_to("/")


@mutation("path_escape", "leads out of the folder")
def _relative_link_out_of_the_folder(folder: Path) -> None:
    (folder / "notes.md").symlink_to("../../../../../../../../etc/hostname")


@mutation("broken_link", "leads nowhere")
def _link_to_nothing(folder: Path) -> None:
    (folder / "README.md").symlink_to("missing.md")


@mutation("broken_link", "leads nowhere")
def _link_to_itself(folder: Path) -> None:
    (folder / "README.md").symlink_to("README.md")


@mutation("special_file", "a pipe, socket or device")
def _weights_are_a_pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


@mutation("special_file", "is a folder")
def _weights_are_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


@mutation("record_invalid", "metrics.json is not valid JSON")
def _metrics_are_no_json(folder: Path) -> None:
    (folder / "metrics.json").write_text("{")


@mutation("record_invalid", "uses YAML aliases")
def _recipe_explodes(folder: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (folder / "recipe.yaml").write_text("\n".join(lines))


@mutation("too_many_files", "more than 1000 files")
def _some_other_folder(folder: Path) -> None:
    for number in range(1001):
        (folder / f"page-{number}.txt").touch()
