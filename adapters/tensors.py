"""Reading safetensors files without trusting them: the header is checked to the byte before any data is touched."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.errors import AdapterRejected

MAX_HEADER_BYTES = 32 * 1024 * 1024
"""Far above any real adapter (about 100 bytes a tensor), far below what hurts to parse."""

ITEM_BYTES: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element, by safetensors dtype."""

_PICKLE_HEADS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the start of the file."""
    end: int


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file whose header tells the truth about its size and layout."""

    path: Path
    tensors: Mapping[str, TensorInfo]

    def raw(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of one tensor, mapped from disk, not copied."""
        info = self.tensors[name]
        if info.begin == info.end:
            return np.empty(0, dtype=np.uint8)
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=info.begin, shape=(info.end - info.begin,))


def open_tensors(path: Path) -> TensorFile:
    """Read and check the header of a safetensors file.

    Every tensor's span must fit its dtype and shape; together the spans must cover the data exactly, without a gap,
    an overlap or anything behind them.

    Raises:
        AdapterRejected: ``weights_empty``, ``pickle_weights``, ``weights_truncated``, ``header_too_large``,
            ``header_corrupt``, ``tensor_span_invalid``, ``tensor_overlap`` or ``weights_trailing_bytes``.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(9)
        _check_head(path.name, head, size)
        length = int.from_bytes(head[:8], "little")
        _check_header_length(path.name, length, size)
        text = head[8:] + file.read(length - 1) if length else b""
    return TensorFile(path, _checked_spans(path.name, _parse_header(path.name, text), 8 + length, size))


def _check_head(name: str, head: bytes, size: int) -> None:
    if size == 0:
        raise AdapterRejected("weights_empty", f"{name} is empty; copy or save the adapter again.")
    # The length of a true header can begin with the same bytes; its first character then tells.
    if head.startswith(_PICKLE_HEADS) and head[8:9] != b"{":
        raise AdapterRejected(
            "pickle_weights",
            f"{name} is a pickle under another name, and pickle can run code when it is read; "
            "save the adapter with safetensors.",
        )
    if size < 8:
        raise AdapterRejected(
            "weights_truncated", f"{name} has only {size} bytes, too few for safetensors; copy the adapter again."
        )


def _check_header_length(name: str, length: int, size: int) -> None:
    if length > size - 8 and length <= MAX_HEADER_BYTES:
        raise AdapterRejected(
            "weights_truncated",
            f"{name} ends inside its header ({size} bytes, the header alone needs {length + 8}); "
            "copy the adapter again.",
        )
    if length > MAX_HEADER_BYTES:
        raise AdapterRejected(
            "header_too_large",
            f"{name} claims a header of {length} bytes, above the limit of {MAX_HEADER_BYTES}; "
            "it is not a safetensors file or it is damaged.",
        )


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} appears twice")
        found[key] = value
    return found


def _parse_header(name: str, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise AdapterRejected(
            "header_corrupt", f"the header of {name} is not valid JSON ({error}); copy the adapter again."
        ) from None
    if not isinstance(header, dict):
        raise AdapterRejected("header_corrupt", f"the header of {name} is not a JSON object; copy the adapter again.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterRejected("header_corrupt", f"the metadata in {name} is not a map of strings; save it again.")
    return header


def _checked_spans(name: str, header: Mapping[str, Any], start: int, size: int) -> dict[str, TensorInfo]:
    tensors = {tensor: _parse_tensor(name, tensor, entry, start) for tensor, entry in header.items()}
    position = start
    for tensor, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin < position:
            raise AdapterRejected(
                "tensor_overlap",
                f"tensor {tensor} in {name} overlaps the one before it; the header is damaged, copy the adapter again.",
            )
        if info.begin > position:
            raise AdapterRejected(
                "tensor_span_invalid",
                f"{info.begin - position} bytes before tensor {tensor} in {name} belong to no tensor; "
                "the header is damaged, copy the adapter again.",
            )
        position = info.end
    if position > size:
        raise AdapterRejected(
            "weights_truncated",
            f"{name} has {size} bytes but its header describes {position}; it was cut short, copy the adapter again.",
        )
    if position < size:
        raise AdapterRejected(
            "weights_trailing_bytes",
            f"{name} has {size - position} bytes that belong to no tensor behind its last one; copy the adapter again.",
        )
    return tensors


def _parse_tensor(name: str, tensor: str, entry: Any, start: int) -> TensorInfo:
    try:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        item_bytes = ITEM_BYTES[dtype]
        begin, end = offsets
        whole = (begin, end, *shape)
    except (TypeError, KeyError, ValueError):
        raise AdapterRejected(
            "header_corrupt", f"the header of {name} does not describe tensor {tensor}; copy the adapter again."
        ) from None
    if not all(type(value) is int and value >= 0 for value in whole):
        raise AdapterRejected(
            "tensor_span_invalid",
            f"tensor {tensor} in {name} has a shape or an offset that is not a count; copy the adapter again.",
        )
    if end - begin != math.prod(shape) * item_bytes:
        raise AdapterRejected(
            "tensor_span_invalid",
            f"tensor {tensor} in {name} spans {end - begin} bytes but its shape {list(shape)} in {dtype} needs "
            f"{math.prod(shape) * item_bytes}; the header is damaged, copy the adapter again.",
        )
    return TensorInfo(dtype, tuple(shape), start + begin, start + end)
