"""The configuration that benchmarks give to a gateway."""

from pathlib import Path

import yaml

from benchmarks.gateway import write_settings


def test_the_properties_of_a_schema_keep_their_order(tmp_path: Path) -> None:
    properties: dict[str, dict[str, str]] = {"rules": {}, "category": {}, "note": {}, "priority": {}}

    path = write_settings(tmp_path / "loraplex.yaml", {"tasks": {"t": {"output": {"json_schema": properties}}}})

    assert list(yaml.safe_load(path.read_text())["tasks"]["t"]["output"]["json_schema"]) == list(properties)
