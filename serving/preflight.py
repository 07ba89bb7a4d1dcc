"""What a valid configuration still needs from this machine: files, drivers, secrets, the engine's own opinion."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from serving.config import GatewayConfig, OpenAIEngineSettings, VllmEngineSettings
from serving.errors import ConfigInvalid
from serving.parts.check import part_problems
from serving.parts.token import Part, token_problem


def preflight(config: GatewayConfig) -> list[str]:
    """One line for each thing that ``config`` names and this machine lacks or the engine refuses.

    Imports what the configuration names, vLLM included (some seconds); starts nothing, loads no weights and opens no
    connection.
    """
    others = (_examination_problems, _adapter_problems, _sample_problems, _audit_problems, _engine_problems)
    return [*quick_preflight(config), *(line for problems in others for line in problems(config))]


def quick_preflight(config: GatewayConfig, only: Part | None = None) -> list[str]:
    """The part of :func:`preflight` that takes no time, and without which no start can succeed.

    Adapters are no part of it: one that the catalog knows already serves even if its source is gone.

    Args:
        only: the part that is to run alone; it needs no engine, and the knowledge no model at all.
    """
    found = [*_state_problems(config), *_artifact_problems(config)]
    if only == "knowledge":
        return [*part_problems(config, only), *_scraper_problems(config), *found]
    found = [*_model_problems(config), *_secret_problems(config), *found, *_training_problems(config)]
    if only is not None:
        return [*part_problems(config, only), *found]
    missing = token_problem(config)
    return [*found, *_compiler_problems(config), *([missing] if missing is not None else [])]


def cluster_problems(config: GatewayConfig, machines: int) -> list[str]:
    """One line for each thing that all replicas share and that ``machines`` machines cannot."""
    if machines < 2:
        return []
    from sqlalchemy import make_url

    found = []
    if make_url(config.state.url).get_backend_name() == "sqlite":
        found.append(
            f"`state.url`: {machines} machines would each have an SQLite file of their own; use PostgreSQL, as in "
            "`postgresql+psycopg://user@host/loraplex`"
        )
    if "://" not in config.artifacts.url:
        found.append(
            f"`artifacts.url`: {machines} machines would each have a folder {config.artifacts.url} of their own; use a "
            "URL such as `s3://bucket/path`, or `file://` and the path of a folder that all of them mount"
        )
    if config.server.is_loopback:
        found.append(
            f"`server.host`: {machines} machines cannot reach each other's replicas at {config.server.host}; set it to "
            "`0.0.0.0`, with `api_keys`"
        )
    return found


def _model_problems(config: GatewayConfig) -> Iterator[str]:
    if not isinstance(config.engine, VllmEngineSettings):
        return
    folder = Path(config.model.id)
    if not folder.is_dir() and not folder.is_absolute():
        return  # a hub id
    if not (folder / "config.json").is_file():
        yield f"`model.id`: there is no checkpoint in {folder} (no config.json)"
    elif not any(folder.glob("*.safetensors")):
        yield f"`model.id`: there is no checkpoint in {folder} (no .safetensors file)"


def _adapter_problems(config: GatewayConfig) -> Iterator[str]:
    for index, item in enumerate(config.adapters.preload):
        folder = Path(item.source)
        if folder.is_absolute() and not folder.is_dir():
            yield f"`adapters.preload[{index}].source`: there is no folder {folder}"
        elif folder.is_absolute() and not (folder / "adapter_config.json").is_file():
            yield f"`adapters.preload[{index}].source`: {folder} holds no adapter_config.json"


def _sample_problems(config: GatewayConfig) -> Iterator[str]:
    """A rollout goes on without them; a signal that can never say anything is a slip all the same."""
    for name, policy in config.adapters.rollouts.items():
        samples, place = policy.signals.samples, f"adapters.rollouts.{name}.signals.samples"
        if samples is None:
            continue
        if samples.suite is not None and not samples.suite.file.is_file():
            yield f"`{place}.suite.file`: there is no file {samples.suite.file}"
        key = None if samples.judge is None else samples.judge.api_key_env
        if key is not None and not os.environ.get(key):
            yield f"`{place}.judge.api_key_env`: the environment variable {key} is not set"
        if samples.judge is not None and find_spec("openai") is None:
            yield f"`{place}.judge`: the Python package openai is not installed; install the extra `train`"


def _secret_problems(config: GatewayConfig) -> Iterator[str]:
    engine = config.engine
    if isinstance(engine, OpenAIEngineSettings) and engine.api_key_env and not os.environ.get(engine.api_key_env):
        yield f"`engine.api_key_env`: the environment variable {engine.api_key_env} is not set"
    yield from _scraper_problems(config)


def _scraper_problems(config: GatewayConfig) -> Iterator[str]:
    token = config.metrics.token_env
    if token is not None and not os.environ.get(token, "").strip():
        yield f"`metrics.token_env`: the environment variable {token} is not set"


def _audit_problems(config: GatewayConfig) -> Iterator[str]:
    """The gateway starts without it, and then makes no change that somebody asks for."""
    audit = config.logging.audit
    if not audit.enabled:
        return
    if audit.file.exists():
        fits = not audit.file.is_dir() and os.access(audit.file, os.R_OK | os.W_OK)
    else:
        folder = next(parent for parent in audit.file.parents if parent.exists())
        fits = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    if not fits:
        yield f"`logging.audit.file`: {audit.file} cannot be written"


def _examination_problems(config: GatewayConfig) -> Iterator[str]:
    examined = [name for name, policy in config.adapters.rollouts.items() if policy.suite is not None]
    variable = config.life.api_key_env
    if examined and config.authentication_required and not os.environ.get(variable):
        yield (
            f"`life.api_key_env`: the environment variable {variable} is not set; the suite of "
            f"`adapters.rollouts.{examined[0]}` could ask nothing"
        )


def _compiler_problems(config: GatewayConfig) -> Iterator[str]:
    """vLLM compiles two small kernels at their first use; without a compiler the engine would die of it."""
    if not isinstance(config.engine, VllmEngineSettings):
        return
    environment = {**os.environ, **config.engine.env}
    if "1" in (environment.get("TORCHDYNAMO_DISABLE"), environment.get("TORCH_COMPILE_DISABLE")):
        return
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        yield "`engine.kind`: vLLM needs a C++ compiler at run time; install g++, or name another in CXX"


def _engine_problems(config: GatewayConfig) -> Iterator[str]:
    if not isinstance(config.engine, VllmEngineSettings):
        return
    try:
        from serving.engine.vllm_args import check_engine_args

        check_engine_args(config.engine)
    except ImportError as error:
        yield f"`engine.kind`: vLLM cannot be imported ({error}); install the extra `cpu` or `gpu`"
    except ConfigInvalid as error:
        yield from str(error).splitlines()


def _state_problems(config: GatewayConfig) -> Iterator[str]:
    from sqlalchemy import make_url

    url = make_url(config.state.url)
    try:
        url.get_dialect().import_dbapi()
    except ImportError:
        yield f"`state.url`: the driver of `{url.drivername}` is not installed"


def _training_problems(config: GatewayConfig) -> Iterator[str]:
    if config.training is None:
        return
    base = config.training.base
    if base is not None and Path(base).is_absolute() and not (Path(base) / "config.json").is_file():
        yield f"`training.base`: there is no checkpoint in {base} (no config.json)"
    for package in ("torch", "transformers", "peft", "trl", "python_multipart"):
        if find_spec(package) is None:
            yield f"`training`: the Python package {package} is not installed; install the extra `train`"


def _artifact_problems(config: GatewayConfig) -> Iterator[str]:
    from fsspec import get_filesystem_class
    from fsspec.core import split_protocol

    protocol, _ = split_protocol(config.artifacts.url)
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        yield f"`artifacts.url`: {error}"
