"""Reading safetensors headers."""

from pathlib import Path

import pytest

from adapters.tensors import open_tensors
from tests.adapter_factory import write_tensors


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_whose_length_looks_like_a_pickle_is_read_all_the_same(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": ("F32", (1,), b"1234")})
    data = path.read_bytes()
    text = data[8:-4].rstrip()
    path.write_bytes(length.to_bytes(8, "little") + text.ljust(length) + data[-4:])
    assert open_tensors(path).raw("a").tobytes() == b"1234"


def test_tensors_need_not_be_aligned(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}} '
    )
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"1234")
    file = open_tensors(path)
    assert file.raw("a").view("<f4").tobytes() == b"1234"
    assert file.raw("b").size == 0
