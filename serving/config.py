"""``GatewayConfig``: the one YAML file that describes a gateway.

Every model is frozen and refuses unknown keys, naming the nearest valid one. The reference in docs/configuration.md
is generated from these classes (``loraplex config reference``), so each field carries its description here.
"""

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.errors import ConfigInvalid

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Settings(BaseModel):
    """Base of every section."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


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
    def _refuse_owned_arguments(self) -> Self:
        owned = {
            "model": "model.id",
            "served_model_name": "model.name",
            "revision": "model.revision",
            "enable_lora": "adapters.enabled",
            "max_loras": "adapters.slots",
            "max_cpu_loras": "adapters.cpu_slots",
            "max_lora_rank": "adapters.max_rank",
            "lora_modules": "adapters.preload",
        }
        for key in self.args:
            if key in owned:
                raise ValueError(f"`{key}` is set by `{owned[key]}`; remove it from `engine.args`")
        return self


class OpenAIEngineSettings(Settings):
    """Any server that speaks the OpenAI API."""

    kind: Literal["openai"] = Field(description="Send generation to an OpenAI-compatible URL.")
    url: str = Field(description="Base URL, including `/v1`.", pattern=r"^https?://")
    model: str | None = Field(default=None, description="The base model's name over there. Default: the public name.")
    api_key_env: str | None = Field(default=None, description="Environment variable that holds the server's API key.")
    adapters: Literal["none", "vllm"] = Field(
        default="none",
        description="`vllm`: load adapters through vLLM's runtime-LoRA routes "
        "(`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` over there). `none`: adapters are refused.",
    )
    timeout_s: float = Field(default=600.0, gt=0, description="Limit for one whole answer, in seconds.")
    connections: int = Field(default=1024, ge=1, description="Most connections held open to the server.")


EngineSettings = Annotated[VllmEngineSettings | OpenAIEngineSettings, Field(discriminator="kind")]


class ServerSettings(Settings):
    """Where the gateway listens, and what it accepts."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    authentication: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="`auto`: API keys are required on any address but loopback, and wherever `api_keys` lists one. "
        "`off` on another address needs `allow_unauthenticated: true` as well.",
    )
    allow_unauthenticated: bool = Field(
        default=False,
        description="Say in so many words that anybody who reaches the address may use the gateway and administer it.",
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, description="Largest request body, in bytes; above it 413."
    )
    request_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Limit for one generation, in seconds; above it 504 or an error event.",
    )
    drain_timeout_s: float = Field(
        default=30.0, ge=0, description="How long a stop waits for requests in flight, in seconds."
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class LimitSettings(Settings):
    """Protection against more work than there is room for."""

    max_concurrent_requests: int = Field(
        default=256, ge=1, description="Generations in progress per replica; above it 429 with Retry-After."
    )
    max_concurrent_per_key: int | None = Field(
        default=None, ge=1, description="Generations in progress per API key and replica; above it 429."
    )
    adapter_wait_s: float = Field(
        default=60.0,
        gt=0,
        description="How long a request waits for its adapter to be loaded, in seconds; above it 503.",
    )


class AdapterSource(Settings):
    """An adapter that the gateway adds at start."""

    name: Name = Field(description="Name of the adapter and of its alias.")
    source: str = Field(description="Local folder, hub id or fsspec URL.", min_length=1)


class AdapterSettings(Settings):
    """LoRA adapters: capacity, limits and what to load at start."""

    enabled: bool = Field(default=True, description="Whether the engine serves adapters at all.")
    slots: int = Field(default=4, ge=1, description="Versions that can take part in one batch (`max_loras`).")
    cpu_slots: int = Field(
        default=8,
        ge=1,
        description="Versions loaded in the engine at once, slots included (`max_cpu_loras`).",
    )
    max_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = Field(
        default=16, description="Largest LoRA rank served (`max_lora_rank`)."
    )
    max_bytes: int = Field(
        default=4 * 1024**3, ge=1, description="Largest adapter accepted, all its files together, in bytes."
    )
    cache_dir: Path = Field(
        default=Path(".loraplex/adapters"), description="Where a replica keeps adapters on its own disk."
    )
    cache_bytes: int = Field(
        default=20 * 1024**3,
        ge=1,
        description="Size of that disk cache, in bytes; the least recently used go first.",
    )
    preload: tuple[AdapterSource, ...] = Field(
        default=(),
        description="Adapters added at start. The first version of a new alias becomes its stable one; an alias "
        "that the catalog already knows keeps what its rollouts made of it.",
    )
    sync_interval_s: float = Field(
        default=0.25,
        gt=0,
        description="How often a replica looks for a change of the desired state, in seconds.",
    )
    load_timeout_s: float = Field(
        default=120.0, gt=0, description="Limit for loading and probing one adapter, in seconds."
    )

    @model_validator(mode="after")
    def _check_tiers(self) -> Self:
        if self.cpu_slots < self.slots:
            raise ValueError(f"`cpu_slots` ({self.cpu_slots}) must be at least `slots` ({self.slots})")
        return self


class OutputContract(Settings):
    """The shape that a task's answers must have: enforced while decoding, validated again at the end."""

    json_schema: dict[str, Any] | None = Field(default=None, description="A JSON Schema that the answer satisfies.")
    regex: str | None = Field(default=None, description="A regular expression that the whole answer matches.")
    choice: tuple[str, ...] | None = Field(default=None, description="The answer is one of these strings.")
    grammar: str | None = Field(default=None, description="An EBNF grammar that the answer is derived from.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("json_schema", "regex", "choice", "grammar") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `json_schema`, `regex`, `choice`, `grammar`")
        if self.choice is not None and not self.choice:
            raise ValueError("`choice` needs at least one string")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"`regex` does not compile: {error}") from None
        if self.json_schema is not None:
            _check_json_schema(self.json_schema)
        return self


def _check_json_schema(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"`json_schema` is not a JSON Schema: {error.message}") from None


class TaskSettings(Settings):
    """A public model name and the behaviour behind it."""

    adapter: Name | None = Field(default=None, description="Alias of the adapter. Default: the base model answers.")
    description: str = Field(default="", description="Shown in `/v1/models`.")
    system_prompt: str | None = Field(
        default=None, description="Put before the messages unless the caller sends a system message."
    )
    sampling: dict[str, Any] = Field(
        default_factory=dict,
        description="Defaults for request fields that the caller leaves out, such as `temperature` or `max_tokens`.",
    )
    output: OutputContract | None = Field(default=None, description="The shape that answers must have.")

    @model_validator(mode="after")
    def _sampling_is_sampling(self) -> Self:
        reserved = {
            "model",
            "messages",
            "prompt",
            "input",
            "stream",
            "stream_options",
            "n",
        } & self.sampling.keys()
        if reserved:
            raise ValueError(f"`sampling` cannot set {', '.join(sorted(reserved))}")
        return self


class StateSettings(Settings):
    """Where the desired state lives."""

    url: str = Field(
        default="sqlite:///.loraplex/state.db",
        description="SQLAlchemy URL. SQLite for one machine, PostgreSQL for several.",
    )


class ArtifactSettings(Settings):
    """Where adapter files are stored."""

    url: str = Field(
        default=".loraplex/artifacts", description="Local folder or fsspec URL, such as `s3://bucket/path`."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="fsspec storage options. Secrets belong in the environment instead."
    )


class ApiKey(Settings):
    """One caller's key. Only its hash is written here; `loraplex keys new` makes both."""

    name: Name = Field(description="Who the key belongs to; appears in metrics and logs.")
    hash: str = Field(description="`sha256:` and the hex digest of the key.", pattern=r"^sha256:[0-9a-f]{64}$")
    models: tuple[str, ...] = Field(
        default=("*",), description="Tasks, aliases or models that the key may use; `*` for all."
    )
    admin: bool = Field(default=False, description="Whether the key may use the admin API.")


class GatewayConfig(Settings):
    """A whole gateway."""

    model: ModelSettings = Field(description="The base model.")
    engine: EngineSettings = Field(default_factory=VllmEngineSettings, description="What generates.")
    server: ServerSettings = Field(default_factory=ServerSettings, description="Address and request limits.")
    replicas: int = Field(default=1, ge=1, le=1024, description="Engine replicas under Ray Serve.")
    gpus_per_replica: float = Field(
        default=0,
        ge=0,
        description="GPUs that Ray reserves for a replica. 0: none (CPU, or a remote engine).",
    )
    cpus_per_replica: float = Field(default=1, ge=0, description="CPU cores that Ray reserves for a replica.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="Admission limits.")
    adapters: AdapterSettings = Field(default_factory=AdapterSettings, description="LoRA adapters.")
    tasks: dict[Name, TaskSettings] = Field(default_factory=dict, description="Public model names, by name.")
    state: StateSettings = Field(default_factory=StateSettings, description="State database.")
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings, description="Artifact store.")
    api_keys: tuple[ApiKey, ...] = Field(default=(), description="Keys that callers authenticate with.")

    @property
    def authentication_required(self) -> bool:
        """Whether callers must present a key."""
        match self.server.authentication:
            case "required":
                return True
            case "off":
                return False
            case _:
                return bool(self.api_keys) or not self.server.is_loopback

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        self._check_names()
        self._check_authentication()
        for name, task in self.tasks.items():
            if task.adapter is not None and not self.adapters.enabled:
                raise ValueError(f"task `{name}` uses adapter `{task.adapter}`, but `adapters.enabled` is false")
        return self

    def _check_names(self) -> None:
        if self.model.public_name in self.tasks:
            raise ValueError(f"task `{self.model.public_name}` has the base model's name; rename one of them")
        for what, names in (
            ("api_keys", [key.name for key in self.api_keys]),
            ("adapters.preload", [source.name for source in self.adapters.preload]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"`{what}` names {', '.join(sorted(twice))} twice")

    def _check_authentication(self) -> None:
        open_to_others = not self.server.is_loopback and not self.authentication_required
        if open_to_others and not self.server.allow_unauthenticated:
            raise ValueError(
                f"`server.host` {self.server.host} can be reached from other machines and authentication is off; "
                "set `server.authentication: required`, or `server.allow_unauthenticated: true` if that is meant"
            )
        if self.authentication_required and not self.api_keys:
            raise ValueError(
                "authentication is required but `api_keys` is empty; make a key with `loraplex keys new NAME`"
            )


def load_config(path: Path) -> GatewayConfig:
    """Read and validate a whole configuration file.

    Raises:
        ConfigInvalid: the file is missing, is not YAML, or does not describe a gateway. The message has one line
            for each problem, with its place in the file and, for an unknown key, the nearest valid one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror or error}") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigInvalid(f"{path} must be a mapping with at least `model:`")
    return parse_config(data, origin=str(path))


def parse_config(data: dict[str, Any], *, origin: str = "configuration") -> GatewayConfig:
    """Validate a configuration that is already a mapping. Raises ConfigInvalid."""
    try:
        return GatewayConfig.model_validate(data)
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors(include_url=False)]
        raise ConfigInvalid(f"{origin} is not valid:\n" + "\n".join(f"  - {line}" for line in lines)) from error


def _describe(problem: Any) -> str:
    location = [part for part in problem["loc"] if part not in ("vllm", "openai")]
    where = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        valid = _fields_at(problem["loc"][:-1])
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"valid keys: {', '.join(sorted(valid))}"
        return f"`{where}`: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message}" if where else message


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names of the fields that are valid at ``location`` in the configuration."""
    settings: Any = GatewayConfig
    for part in location:
        settings = _step(settings, part)
    return list(settings.model_fields) if isinstance(settings, type) and issubclass(settings, Settings) else []


def _step(settings: Any, part: Any) -> Any:
    if settings is GatewayConfig and part == "engine":
        return {"vllm": VllmEngineSettings, "openai": OpenAIEngineSettings}
    if isinstance(settings, dict):
        return settings.get(part, settings)
    if isinstance(settings, type) and issubclass(settings, Settings) and part in settings.model_fields:
        return _settings_in(settings.model_fields[part].annotation)
    return settings


def _settings_in(annotation: Any) -> Any:
    """The Settings class inside ``annotation``, such as ``tuple[AdapterSource, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _settings_in(inner)
        if found is not None:
            return found
    return None
