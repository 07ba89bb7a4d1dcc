"""Where a gateway in one process logs."""

from pathlib import Path

import pytest

from tests.adapter_factory import make_base
from tests.integration.instance import Instance, free_port

pytestmark = pytest.mark.timeout(120)


async def test_the_log_goes_to_standard_error_where_the_environment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAPLEX_LOG_TO_STDERR", "1")
    make_base(tmp_path / "tiny")
    settings = {
        "model": {"id": str(tmp_path / "tiny")},
        "engine": {"kind": "fake"},
        "server": {"port": free_port()},
        "logging": {"format": "json", "level": "debug"},
    }
    async with Instance(tmp_path, settings, "--local") as instance:
        assert await instance.stop() == 0
    assert any(line.startswith('{"time":') for line in instance.lines), instance.transcript()
    assert any(line.startswith("Logs:  here ") for line in instance.lines)
    assert not list(tmp_path.rglob("serve.log"))


async def test_a_start_that_fails_says_so_once_where_the_log_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAPLEX_LOG_TO_STDERR", "1")
    make_base(tmp_path / "tiny")
    settings = {
        "model": {"id": str(tmp_path / "tiny")},
        "engine": {"kind": "fake"},
        "server": {"port": free_port()},
        "state": {"url": "postgresql://127.0.0.1:9/none"},
    }
    instance = Instance(tmp_path, settings, "--local")
    await instance.launch()
    assert await instance.ended() == 1
    assert any(line.startswith("The gateway did not start: ") for line in instance.lines)
    assert instance.lines[-1] == "Logs: here"
