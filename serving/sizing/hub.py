"""The shape of a model on the hub, from its headers alone: some hundred kilobytes, whatever its size."""

import os
from typing import Any

from adapters.tensors import TensorInfo
from serving.sizing.errors import CannotSize
from serving.sizing.shape import ModelShape, shape_of

_TIMEOUT_S = 20.0


def read_hub_shape(name: str, revision: str | None = None) -> ModelShape:
    """Of the model ``name``, such as ``org/model``. HF_ENDPOINT and HF_TOKEN are read. Raises CannotSize."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import HFValidationError, NotASafetensorsRepoError, SafetensorsParsingError
    from huggingface_hub.utils import get_session, hf_raise_for_status

    endpoint = os.environ.get("HF_ENDPOINT")
    api = HfApi(endpoint=endpoint, token=os.environ.get("HF_TOKEN"))
    try:
        url = hf_hub_url(name, "config.json", revision=revision, endpoint=endpoint)
        answer = get_session().get(url, headers=api._build_hf_headers(), timeout=_TIMEOUT_S)  # noqa: SLF001
        hf_raise_for_status(answer)
        config: Any = answer.json()
        found = api.get_safetensors_metadata(name, revision=revision, timeout=_TIMEOUT_S)
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise CannotSize(f"the hub's {name} has no safetensors weights that can be read: {error}") from error
    except (HFValidationError, ValueError) as error:
        raise CannotSize(f"there is no folder {name}, nor can a model of the hub be called so: {error}") from error
    except Exception as error:  # whatever the hub's client and its transport raise
        problem = str(error).strip().partition("\n")[0]
        raise CannotSize(f"there is no folder {name}, and the hub does not give it: {problem}") from error
    tensors = {
        tensor: TensorInfo(info.dtype, tuple(info.shape), *info.data_offsets)
        for file in found.files_metadata.values()
        for tensor, info in file.tensors.items()
    }
    return shape_of(name.rpartition("/")[2], config, tensors)
