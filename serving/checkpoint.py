"""Where the base checkpoint's files are on this machine."""

import dataclasses
from pathlib import Path

from adapters.base_model import BaseModelSpec, comparable_name
from serving.config import GatewayConfig, ModelSettings, OpenAIEngineSettings, VllmEngineSettings
from serving.engine.protocol import Progress
from serving.errors import ConfigInvalid


def checkpoint_folder(model: ModelSettings, progress: Progress) -> Path:
    """The local folder of ``model``, downloaded from the hub where ``model.id`` is no folder.

    Raises:
        ConfigInvalid: there is no such folder, and the hub does not give it.
    """
    folder = Path(model.id)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.id.startswith("."):
        raise ConfigInvalid(f"`model.id`: there is no folder {model.id}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    progress(f"Looking up {model.id} on the hub")
    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(model.id, revision=model.revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigInvalid(
            f"`model.id`: {model.id} is no local folder, and the hub did not give it: {error}"
        ) from error


def base_model_spec(config: GatewayConfig, progress: Progress) -> BaseModelSpec:
    """What adapters are checked against: the checkpoint's shapes, or only its name where the engine has it elsewhere.

    Blocking. Raises ConfigInvalid, and BaseModelUnreadable for a folder that is no checkpoint.
    """
    name = config.model.public_name
    if not isinstance(config.engine, VllmEngineSettings) and not Path(config.model.id).is_dir():
        there = config.engine.model if isinstance(config.engine, OpenAIEngineSettings) else None
        return BaseModelSpec.named(name, config.model.id, there or name)
    spec = BaseModelSpec.from_checkpoint(checkpoint_folder(config.model, progress), name)
    return dataclasses.replace(spec, names=spec.names | {comparable_name(config.model.id)})
