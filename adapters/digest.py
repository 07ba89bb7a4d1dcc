"""A version's name comes from its content: SHA-256 over what decides how an adapter answers.

The digest covers exactly the files that serve, in the order of their names, each in a canonical form, so that equal
weights have equal names whatever program wrote them, and on whatever machine:

- ``adapter_config.json``: its object without the fields that change no answer (``lora_config.HARMLESS`` and the
  initialisation) and without unset ones (null, false, empty), keys sorted, lists of module names sorted, whole floats
  as integers, in compact JSON.
- ``adapter_model.safetensors``: for every tensor, by name: name, dtype, shape and bytes. The order of the tensors in
  the file, its padding and its metadata do not count.

Every part is preceded by its length, and everything by ``loraplex-adapter-1``. The base model is not part of it: the
same base goes by many names and paths, and its shapes are checked against the weights. Records (recipe, metrics) are
not part of it either: they describe the weights and do not change them.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapters.errors import AdapterRejected
from adapters.layout import CONFIG, WEIGHTS
from adapters.lora_config import HARMLESS, read_json
from adapters.tensors import TensorFile, open_tensors

_FORMAT = b"loraplex-adapter-1"
_IGNORED = HARMLESS | {"init_lora_weights"}
_SETS = frozenset({"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"})


def digest_folder(folder: Path) -> str:
    """The digest of the adapter in ``folder``, 64 hex digits.

    Raises:
        AdapterRejected: a file is not what its name says (damaged, or not JSON).
        OSError: a file cannot be read.
    """
    return digest(read_json(folder / CONFIG, code="config_invalid"), open_tensors(folder / WEIGHTS))


def digest(config: dict[str, Any], weights: TensorFile) -> str:
    """The digest of an adapter whose files are already open. Raises AdapterRejected, OSError."""
    sha = hashlib.sha256(_FORMAT)
    for name, parts in ((CONFIG, [canonical_config(config)]), (WEIGHTS, _tensor_parts(weights))):
        _add(sha, name.encode())
        for part in parts:
            _add(sha, part)
    return sha.hexdigest()


def canonical_config(config: dict[str, Any]) -> bytes:
    """The configuration in the form that is digested. Raises AdapterRejected with ``config_invalid``."""
    kept = {key: _normal(key, value) for key, value in config.items() if key not in _IGNORED and _is_set(value)}
    try:
        return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise AdapterRejected("config_invalid", f"{CONFIG} holds a value that is not JSON: {error}.") from None


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _normal(key: str, value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {inner: _normal(inner, item) for inner, item in value.items()}
    if isinstance(value, list):
        items = [_normal("", item) for item in value]
        return sorted(items, key=repr) if key in _SETS else items
    return value


def _tensor_parts(weights: TensorFile) -> Iterable[bytes | memoryview]:
    for name, info in sorted(weights.tensors.items()):
        yield name.encode()
        yield info.dtype.encode()
        yield ",".join(map(str, info.shape)).encode()
        yield weights.raw(name).data


def _add(sha: "hashlib._Hash", part: bytes | memoryview) -> None:
    sha.update(len(part).to_bytes(8, "big"))
    sha.update(part)
