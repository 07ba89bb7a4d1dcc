"""The other servers that Loraplex is measured against, each started the way its own documentation says."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fleet import REPOSITORY, Fleet, Server, ServerFailed, say

LITELLM = "litellm[proxy]==1.106.*"
LITELLM_VENV = REPOSITORY / ".loraplex" / "bench" / "litellm"
_LITELLM_ENV = {
    # Without these it looks for its price list, and reports usage, on the network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "ERROR",
    # The gateway runs without keys on loopback too.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


def mock(fleet: Fleet, port: int, model: str, *, name: str = "mock") -> Server:
    """The zero-latency server."""
    command = [sys.executable, "-m", "benchmarks.mock_server", "--port", str(port), "--model", model]
    return fleet.start(name, command, port)


def install_litellm() -> Path:
    """LiteLLM's proxy in an environment of its own, made on first use. Raises ServerFailed."""
    program = LITELLM_VENV / "bin" / "litellm"
    if program.exists():
        return program
    say(f"installing {LITELLM} into {LITELLM_VENV}")
    uv = _uv()
    python = str(LITELLM_VENV / "bin" / "python")
    for arguments in (
        ["venv", "--clear", "--python", sys.executable, str(LITELLM_VENV)],
        ["pip", "install", "--python", python, LITELLM],
    ):
        done = subprocess.run([*uv, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"cannot install {LITELLM}:\n{done.stderr[-2000:]}")
    return program


def litellm(fleet: Fleet, port: int, upstream: str, model: str) -> Server:
    """LiteLLM's proxy, one worker, in front of ``upstream`` (a base URL with ``/v1``)."""
    program = install_litellm()
    config = {
        "model_list": [
            {
                "model_name": model,
                "litellm_params": {"model": f"openai/{model}", "api_base": upstream, "api_key": "unused"},
            }
        ],
        "litellm_settings": {"telemetry": False},
    }
    path = fleet.folder / "litellm.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [str(program), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    return fleet.start("litellm", command, port, env=_LITELLM_ENV)


def bare_vllm(
    fleet: Fleet, port: int, model: Path, name: str, arguments: Mapping[str, Any], env: Mapping[str, str]
) -> Server:
    """vLLM's own OpenAI server, with the same engine arguments as the gateway's engine."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), *_flags(arguments)]
    return fleet.start("bare-vllm", command, port, env=env)


def ray_llm(
    fleet: Fleet, port: int, model: Path, name: str, arguments: Mapping[str, Any], env: Mapping[str, str]
) -> Server:
    """``ray.serve.llm.build_openai_app`` with the same engine arguments."""
    settings = {"port": port, "model": str(model), "name": name, "arguments": dict(arguments), "env": dict(env)}
    path = fleet.folder / "ray_llm.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return fleet.start("ray-llm", [sys.executable, "-m", "benchmarks.ray_llm_server", str(path)], port, env=env)


def _flags(arguments: Mapping[str, Any]) -> list[str]:
    """vLLM's command-line spelling of engine arguments."""
    flags: list[str] = []
    for key, value in arguments.items():
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            flags += [flag, str(value)]
    return flags


def _uv() -> list[str]:
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return [str(beside)]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    if found is None:
        raise ServerFailed("`uv` is needed to install LiteLLM; install it with `pip install uv`")
    return [found]
