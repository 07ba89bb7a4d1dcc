"""The address, the limits, and who may call."""

import ipaddress
from typing import Literal

from pydantic import Field

from serving.settings.base import HASH_PATTERN, Items, Label, Name, Settings


class ServerSettings(Settings):
    """Where the gateway listens, and what it accepts."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
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
    status_page: Literal["admin", "public", "off"] = Field(
        default="admin",
        description="Who may see `/status`, the page about adapters, replicas and the last changes. `admin`: keys with "
        "the admin role, which a browser asks for. `public`: anybody who reaches the address; the page names who made "
        "each change and why. `off`: it does not exist.",
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


class ApiKey(Settings):
    """One caller's key. Only its hash is written here; `loraplex keys new` makes both."""

    name: Name = Field(description="Who the key belongs to; appears in logs and in an adapter's history.")
    hash: str = Field(description="`sha256:` and the hex digest of the key.", pattern=HASH_PATTERN)
    models: Items[str] = Field(
        default=("*",),
        description="Names that the key may use: tasks, aliases, models, versions. `*` for all, `triage@*` for every "
        "version of one adapter.",
    )
    admin: bool = Field(default=False, description="Whether the key may use the admin API.")
    labels: Items[Label] = Field(
        default=(),
        description="Documents with any of these labels may be shown to the key, besides those without labels. An "
        "administrator sees all.",
    )
    writes_knowledge: bool = Field(
        default=False, description="Whether the key may upload files, change vector stores and create fine-tuning jobs."
    )
