"""The tools that tests spoil valid adapters with, and the register of all that they do."""

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
"""Filled by tests/adapter_mutations.py and tests/adapter_file_mutations.py."""


def mutation(code: str, says: str, name: str = "") -> Callable[[Spoil], Spoil]:
    def register(spoil: Spoil) -> Spoil:
        MUTATIONS.append(Mutation(name or spoil.__name__.strip("_"), code, says, spoil))
        return spoil

    return register


def spoil_config(name: str, code: str, says: str, **changes: Any) -> None:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def drop_setting(name: str, code: str, says: str, field: str) -> None:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != field}))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, ready to be changed and written again."""
    file = open_tensors(path)
    return {name: (info.dtype, info.shape, file.raw(name).tobytes()) for name, info in file.tensors.items()}


def spoil_tensors(name: str, code: str, says: str, change: Callable[[Tensors], Tensors]) -> None:
    def spoil(folder: Path) -> None:
        write_tensors(folder / WEIGHTS, change(read_tensors(folder / WEIGHTS)))

    MUTATIONS.append(Mutation(name, code, says, spoil))


def spoil_header(name: str, code: str, says: str, change: Callable[[dict[str, Any]], None]) -> None:
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


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {name.replace(old, new): value for name, value in tensors.items()}


def first(tensors: Tensors, suffix: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(suffix))


def filled(dtype: str, shape: tuple[int, ...], value: float) -> tuple[str, tuple[int, ...], bytes]:
    return dtype, shape, encode(np.full(math.prod(shape), value, dtype=np.float32), dtype)


def poisoned(value: float, dtype: str) -> Callable[[Tensors], Tensors]:
    """All tensors in ``dtype``, the last value of one of them replaced."""

    def change(tensors: Tensors) -> Tensors:
        spoiled = {name: filled(dtype, shape, 0.01) for name, (_, shape, _) in tensors.items()}
        name = first(tensors, "lora_B.weight")
        shape = tensors[name][1]
        values = np.full(math.prod(shape), 0.01, dtype=np.float32)
        values[-1] = value
        spoiled[name] = (dtype, shape, encode(values, dtype))
        return spoiled

    return change


def zeroed(*sides: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {
        name: filled(dtype, shape, -0.0) if any(f"lora_{side}" in name for side in sides) else (dtype, shape, data)
        for name, (dtype, shape, data) in tensors.items()
    }


def disjoint(tensors: Tensors) -> Tensors:
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


def resized(side: str, axis: int, by: int, only: str = "") -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        spoiled = dict(tensors)
        for name, (dtype, shape, _) in tensors.items():
            if f"lora_{side}" in name and only in name:
                grown = tuple(size + by * (index == axis) for index, size in enumerate(shape))
                spoiled[name] = filled(dtype, grown, 0.01)
        return spoiled

    return change


def with_tensor(name: str, dtype: str = "F32", shape: tuple[int, ...] = (4, 4)) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: (dtype, shape, b"\x01" * (math.prod(shape) * 4))}


def in_dtype(dtype: str, size: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {
        name: (dtype, shape, b"\x01" * (math.prod(shape) * size)) for name, (_, shape, _) in tensors.items()
    }


def dropped(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if not all(part in name for part in parts)}


def cut_weights(keep: Callable[[int], int]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS
        os.truncate(path, keep(path.stat().st_size))

    return spoil
