"""Starting Loraplex itself, as a user would."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fleet import REPOSITORY, Fleet, Server, ServerFailed

READY = "/readyz"
ARGUMENTS: dict[str, Any] = {"max_model_len": 2048, "enforce_eager": True}
"""Engine arguments of every measurement with real vLLM."""
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}


def demo_checkpoint() -> Path:
    """The base checkpoint that the demo unpacks. Raises ServerFailed where it is not there yet."""
    folder = REPOSITORY / ".loraplex" / "models" / "SmolLM2-135M-Instruct"
    if not (folder / "config.json").exists():
        raise ServerFailed(f"no checkpoint in {folder}; `python -m examples.base_model` builds it, or give --model")
    return folder


def base_settings(folder: Path, port: int) -> dict[str, Any]:
    """What every configuration here shares: loopback, and state of its own in ``folder``."""
    return {
        "server": {"host": "127.0.0.1", "port": port},
        "state": {"url": f"sqlite:///{folder / 'state.db'}"},
        "logging": {"audit": {"file": str(folder / "audit.jsonl")}},
        "artifacts": {"url": str(folder / "artifacts")},
        "adapters": {"cache_dir": str(folder / "cache")},
    }


def proxy_settings(folder: Path, port: int, upstream: str, model: str) -> dict[str, Any]:
    """The gateway alone: its OpenAI-URL engine in front of ``upstream`` (a base URL with ``/v1``)."""
    settings = base_settings(folder, port)
    settings["model"] = {"id": model, "name": model}
    settings["engine"] = {"kind": "openai", "url": upstream, "model": model}
    settings["adapters"]["enabled"] = False
    return settings


def vllm_settings(
    folder: Path, port: int, model: Path, name: str, arguments: Mapping[str, Any], env: Mapping[str, str]
) -> dict[str, Any]:
    """The gateway with vLLM in its process."""
    settings = base_settings(folder, port)
    settings["model"] = {"id": str(model), "name": name}
    settings["engine"] = {"kind": "vllm", "args": dict(arguments), "env": dict(env)}
    return settings


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write a configuration, in the order that it has: answers follow that of a schema's properties."""
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
    return path


def loraplex(fleet: Fleet, settings: Mapping[str, Any], *, local: bool, name: str = "loraplex") -> Server:
    """``loraplex serve``, or ``loraplex serve --local``."""
    path = write_settings(fleet.folder / f"{name}.yaml", settings)
    command = [str(Path(sys.executable).with_name("loraplex")), "serve", "--config", str(path)]
    if local:
        command.append("--local")
    # It writes below the folder that it is started in.
    return fleet.start(name, command, int(settings["server"]["port"]), cwd=fleet.folder)
