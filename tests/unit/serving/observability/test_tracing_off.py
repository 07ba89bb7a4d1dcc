"""With tracing off, nothing of OpenTelemetry is there."""

import subprocess
import sys
from pathlib import Path

from tests.meta.sources import ROOT

PROGRAM = """
import sys
from serving.config import parse_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway

config = parse_config({
    "model": {"id": "fake-base"},
    "adapters": {"enabled": False},
    "state": {"url": f"sqlite:///{sys.argv[1]}/state.db"},
    "artifacts": {"url": sys.argv[1]},
    "tracing": {"enabled": sys.argv[2] == "on"},
})
build_gateway(config, engine=FakeEngine("fake-base"))
print(sorted(name for name in sys.modules if name.split(".")[0] == "opentelemetry")[:5])
"""


def _imported(folder: Path, switch: str) -> str:
    command = [sys.executable, "-c", PROGRAM, str(folder), switch]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def test_a_gateway_that_does_not_trace_imports_no_tracing_library(tmp_path: Path) -> None:
    assert _imported(tmp_path, "off") == "[]"


def test_a_gateway_that_traces_imports_one(tmp_path: Path) -> None:
    assert _imported(tmp_path, "on") != "[]"
