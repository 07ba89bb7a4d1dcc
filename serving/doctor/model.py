"""The base model's files, on this machine or on the hub."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from adapters.errors import AdapterRejected
from adapters.tensors import open_tensors
from serving.config import GatewayConfig, VllmEngineSettings
from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.wire import BadAddress, Line, Unreachable

_HUB = "https://huggingface.co"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_INDEX = "model.safetensors.index.json"
_MOST = 3
_COPY = "Copy the checkpoint again."


def model(config: GatewayConfig) -> Iterator[Finding]:
    """The checkpoint is whole, or the hub gives it."""
    if not isinstance(config.engine, VllmEngineSettings):
        yield skip("model", "No weights are read: the engine is not vLLM here.")
        return
    folder = Path(config.model.id)
    if folder.is_dir():
        yield from _checkpoint(folder)
    elif folder.is_absolute():
        yield fail("model", f"There is no folder {folder}.", "Mount or copy the checkpoint, or correct `model.id`.")
    else:
        yield from _hub(config.model.id, config.model.revision)


def _checkpoint(folder: Path) -> Iterator[Finding]:
    if not (folder / "config.json").is_file():
        yield fail("model", f"{folder} holds no config.json: it is no checkpoint.", _COPY)
        return
    try:
        files = _weights(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield fail("model", f"{folder / _INDEX} cannot be read.", _COPY)
        return
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = f"{', '.join(missing[:_MOST])} and so {len(missing)} of {len(files)} files" if files else "every weight"
        yield fail("model", f"{folder} lacks {what}.", _COPY)
        return
    for file in files:
        try:
            open_tensors(file)
        except (AdapterRejected, OSError) as error:
            yield fail("model", f"{file.name} is broken: {error}", _COPY)
            return
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        yield warn("model", f"{folder} holds no tokenizer.", "Name one in `engine.args.tokenizer`, or copy it there.")
        return
    size = sum(file.stat().st_size for file in files) / 1024**3
    yield ok("model", f"The checkpoint in {folder} is whole: {counted(len(files), 'file')}, {size:.2f} GiB.")


def _weights(folder: Path) -> list[Path]:
    """Raises OSError, ValueError, KeyError, TypeError, AttributeError."""
    if not (folder / _INDEX).is_file():
        return sorted(folder.glob("*.safetensors"))
    named = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(named))]


def _hub(name: str, revision: str | None) -> Iterator[Finding]:
    cached = _cached(name, revision)
    if cached is not None:
        yield from _checkpoint(cached)
        return
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        yield fail(
            "model",
            f"{name} is not in the cache of the hub, and HF_HUB_OFFLINE forbids to fetch it.",
            "Put the checkpoint into a folder and name that in `model.id`, or fill the cache of HF_HOME.",
        )
        return
    endpoint = os.environ.get("HF_ENDPOINT", _HUB)
    try:
        reply = Line(endpoint, os.environ.get("HF_TOKEN", ""), timeout_s=10.0).get(f"/api/models/{name}")
    except BadAddress as error:
        yield fail("model", f"HF_ENDPOINT is wrong: {error}.", "Correct it, or unset it for the public hub.")
    except Unreachable as error:
        yield fail(
            "model",
            f"{name} is not on this machine, and the hub is not reached: {error}",
            "Open the way to the hub, or put the checkpoint into a folder and name that in `model.id`.",
        )
    else:
        if reply.is_good:
            yield ok("model", f"The hub has {name}; it is fetched at the first start.")
        else:
            yield fail(
                "model",
                f"The hub answers {reply.status} for {name}.",
                "Is the name right? For a private or gated one put a token into HF_TOKEN, and accept its terms.",
            )


def _cached(name: str, revision: str | None) -> Path | None:
    """Where the hub's own cache has it, if anything of it is there."""
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    folder = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub") / f"models--{name.replace('/', '--')}"
    try:
        commit = (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision or ""
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None
