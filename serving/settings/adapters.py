"""LoRA adapters, and where their state and their files live."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from serving.settings.base import FilePath, Items, Name, Settings
from serving.settings.life import RolloutSettings


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
    cache_dir: FilePath = Field(
        default=Path(".loraplex/adapters"), description="Where a replica keeps adapters on its own disk."
    )
    cache_bytes: int = Field(
        default=20 * 1024**3,
        ge=1,
        description="Size of that disk cache, in bytes; the least recently used go first.",
    )
    preload: Items[AdapterSource] = Field(
        default=(),
        description="Adapters added at start. The first version of a new alias becomes its stable one; an alias "
        "that the catalog already knows keeps what its rollouts made of it.",
    )
    rollouts: dict[Name, RolloutSettings] = Field(
        default_factory=dict, description="What becomes of trained versions, by the name of their adapter."
    )
    sync_interval_s: float = Field(
        default=0.25,
        gt=0,
        description="How often a replica looks for a change of the desired state, in seconds.",
    )
    load_timeout_s: float = Field(
        default=120.0, gt=0, description="Limit for loading and probing one adapter, in seconds."
    )

    @field_validator("max_rank", mode="before")
    @classmethod
    def _rank_is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):  # a Literal takes True for 1
            raise ValueError("must be a whole number")
        return value

    @model_validator(mode="after")
    def _check_tiers(self) -> Self:
        if self.cpu_slots < self.slots:
            raise ValueError(f"`cpu_slots`: {self.cpu_slots} is less than `slots`, {self.slots}")
        if self.cache_bytes < self.max_bytes:
            raise ValueError(f"`cache_bytes`: {self.cache_bytes} is less than `max_bytes`, {self.max_bytes}")
        return self


class StateSettings(Settings):
    """Where the desired state lives."""

    url: str = Field(
        default="sqlite:///.loraplex/state.db",
        description="SQLAlchemy URL. SQLite for one machine, PostgreSQL for several.",
    )

    @field_validator("url")
    @classmethod
    def _url_names_a_known_database(cls, value: str) -> str:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(value)
            backend = url.get_backend_name()
            if backend in ("sqlite", "postgresql"):
                url.get_dialect()
                return value
        except (ArgumentError, ValueError):  # ValueError: a port that is not a number
            raise ValueError("is not a database URL such as `sqlite:///path/to/state.db`") from None
        raise ValueError(f"`{backend}` is not supported; use `sqlite` or `postgresql`")


class ArtifactSettings(Settings):
    """Where adapter files are stored."""

    url: str = Field(
        default=".loraplex/artifacts",
        min_length=1,
        description="Local folder or fsspec URL, such as `s3://bucket/path`.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="fsspec storage options. Secrets belong in the environment instead."
    )

    @field_validator("url")
    @classmethod
    def _protocol_exists(cls, value: str) -> str:
        from fsspec import available_protocols
        from fsspec.core import split_protocol

        protocol, _ = split_protocol(value)
        if protocol is not None and protocol not in available_protocols():
            raise ValueError(f"fsspec knows no protocol `{protocol}`")
        return value
