"""The base model, and what generates with it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from serving.settings.base import URL_PATTERN, Name, Settings

OWNED_ENGINE_ARGUMENTS = {
    "model": "model.id",
    "served_model_name": "model.name",
    "revision": "model.revision",
    "enable_lora": "adapters.enabled",
    "max_loras": "adapters.slots",
    "max_cpu_loras": "adapters.cpu_slots",
    "max_lora_rank": "adapters.max_rank",
    "lora_modules": "adapters.preload",
}
"""Engine arguments that the gateway sets, and the setting that each comes from."""


class ModelSettings(Settings):
    """The base model."""

    id: str = Field(description="Local folder or hub id of the base checkpoint.", min_length=1)
    name: Name | None = Field(
        default=None, description="Public name of the base model. Default: the last part of `id`."
    )
    revision: str | None = Field(default=None, description="Hub revision. Ignored for a local folder.")

    @property
    def public_name(self) -> str:
        """What clients call the base model."""
        return self.name or Path(self.id.rstrip("/")).name


class VllmEngineSettings(Settings):
    """vLLM inside the gateway's own process."""

    kind: Literal["vllm"] = Field(default="vllm", description="Run vLLM in this process.")
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed through to vLLM's engine arguments, in their Python spelling "
        "(`max_model_len`, `tensor_parallel_size`, `tool_call_parser`, ...). "
        "The model and the LoRA limits come from `model` and `adapters`.",
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="Environment of the engine's processes, such as `VLLM_CPU_KVCACHE_SPACE`.",
    )

    @model_validator(mode="after")
    def _check_argument_names(self) -> Self:
        problems = []
        for key in self.args:
            python_name = key.lstrip("-").replace("-", "_")
            if key != python_name:
                problems.append(f"`args.{key}`: write it in its Python spelling, `{python_name}`")
            elif key in OWNED_ENGINE_ARGUMENTS:
                problems.append(f"`args.{key}`: is set by `{OWNED_ENGINE_ARGUMENTS[key]}`; remove it here")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class OpenAIEngineSettings(Settings):
    """Any server that speaks the OpenAI API."""

    kind: Literal["openai"] = Field(description="Send generation to an OpenAI-compatible URL.")
    url: str = Field(description="Base URL, including `/v1`.", pattern=URL_PATTERN)
    model: str | None = Field(default=None, description="The base model's name over there. Default: the public name.")
    api_key_env: str | None = Field(default=None, description="Environment variable that holds the server's API key.")
    adapters: Literal["none", "vllm"] = Field(
        default="none",
        description="`vllm`: load adapters through vLLM's runtime-LoRA routes "
        "(`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` over there). `none`: adapters are refused.",
    )
    timeout_s: float = Field(default=600.0, gt=0, description="Limit for one whole answer, in seconds.")
    connections: int = Field(default=1024, ge=1, description="Most connections held open to the server.")


class FakeEngineSettings(Settings):
    """A stand-in without a model: it answers with the prompt, to rehearse an installation where there is no GPU."""

    kind: Literal["fake"] = Field(description="Answer without a model. For rehearsals and tests.")
    token_s: float = Field(default=0.0, ge=0, le=10, description="How long each token takes, in seconds.")
    max_model_len: int = Field(default=8192, ge=16, description="Longest prompt and answer together, in tokens.")


def _kind(value: Any) -> str | None:
    """The engine that ``value`` describes: vLLM unless it says otherwise."""
    if isinstance(value, Settings):
        return getattr(value, "kind", None)
    if not isinstance(value, dict):
        return None
    kind = value.get("kind", "vllm")
    return kind if isinstance(kind, str) else repr(kind)


EngineSettings = Annotated[
    Annotated[VllmEngineSettings, Tag("vllm")]
    | Annotated[OpenAIEngineSettings, Tag("openai")]
    | Annotated[FakeEngineSettings, Tag("fake")],
    Discriminator(_kind),
]
