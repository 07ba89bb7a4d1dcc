"""``loraplex serve``: what is refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from serving.cli.main import build_app
from tests.knowledge_live import key_of

FAKE: dict[str, Any] = {"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}}


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LORAPLEX_CONFIG", "LORAPLEX_SERVICE_TOKEN", "LORAPLEX_REPLICA", "LORAPLEX_PEER_PORT"):
        monkeypatch.delenv(name, raising=False)


def _serve(config: dict[str, Any], *arguments: str) -> tuple[int, str]:
    file = Path("loraplex.yaml")
    file.write_text(yaml.safe_dump(FAKE | config))
    result = CliRunner().invoke(build_app("serve"), ["serve", "-c", str(file), *arguments])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("other", [("--local",), ("--ray-address", "auto")])
def test_one_part_alone_is_not_a_gateway(other: tuple[str, ...]) -> None:
    status, output = _serve({}, "--only", "control", *other)
    assert (status, "--only runs one part without a gateway" in output) == (2, True)


def test_only_parts_that_there_are_can_run_alone() -> None:
    status, output = _serve({}, "--only", "gateway")
    assert (status, "'control', 'knowledge'" in output) == (2, True)


def test_knowledge_alone_needs_its_section() -> None:
    status, output = _serve({}, "--only", "knowledge")
    assert (status, "there is no section `knowledge`" in output) == (2, True)


def test_a_gateway_whose_searches_others_could_forge_does_not_start() -> None:
    services = {"knowledge": {"url": "http://knowledge:8000"}}
    status, output = _serve({"knowledge": {}, "services": services, "api_keys": [key_of("ops")]}, "--local")
    assert (status, "LORAPLEX_SERVICE_TOKEN is not set" in output) == (2, True)


def test_a_name_among_gateways_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_REPLICA", "not a name")
    status, output = _serve({}, "--local")
    assert (status, "LORAPLEX_REPLICA: must hold only" in output) == (2, True)
