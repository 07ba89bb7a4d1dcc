"""What a maker recorded beside the weights: recipe and metrics, kept as a version's metadata."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from adapters.errors import AdapterRejected
from adapters.layout import RECORDS
from adapters.lora_config import read_json


def read_records(folder: Path, present: Sequence[str]) -> dict[str, Any]:
    """The records among the files ``present``, by the part of their name before the dot.

    Raises:
        AdapterRejected: ``record_invalid``: one of them is not an object, or not plain data.
    """
    found: dict[str, Any] = {}
    for name in present:
        if name in RECORDS:
            path = folder / name
            value = _read_yaml(path) if path.suffix == ".yaml" else read_json(path, code="record_invalid")
            found[path.stem] = _plain(name, value)
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        # A few aliases can stand for gigabytes.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise AdapterRejected("record_invalid", f"{path.name} uses YAML aliases; write the values out.")
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AdapterRejected("record_invalid", f"{path.name} is not YAML ({problem}); mend or remove it.") from None
    if not isinstance(value, dict):
        raise AdapterRejected("record_invalid", f"{path.name} is not a mapping; mend or remove it.")
    return value


def _plain(name: str, value: dict[str, Any]) -> Any:
    """The value as JSON holds it: dates become text."""
    try:
        return json.loads(json.dumps(value, default=str, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise AdapterRejected("record_invalid", f"{name} holds what is not plain data ({error}); mend it.") from None
