"""Parts of the gateway that run as processes of their own."""

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from serving.settings.base import URL_PATTERN, Settings

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ServiceSettings(Settings):
    """Where another process runs a part of this gateway."""

    url: str = Field(
        pattern=URL_PATTERN, description="Its address without a path, such as `http://loraplex-control:8000`."
    )

    @field_validator("url")
    @classmethod
    def _url_is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an address alone, without a path and without credentials")
        return value.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether the part runs on this machine, where nobody else can listen in."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")


class ServicesSettings(Settings):
    """Parts that `loraplex serve --only control` and `--only knowledge` run, for gateways that share them.

    The same file is meant for all of them: each process leaves the entry that names itself aside.
    """

    control: ServiceSettings | None = Field(
        default=None,
        description="The process that answers `/admin/*` and fine-tuning. Absent: it is part of this gateway.",
    )
    knowledge: ServiceSettings | None = Field(
        default=None, description="The process that owns the indexes. Absent: it is part of this gateway."
    )
    token_env: str = Field(
        default="LORAPLEX_SERVICE_TOKEN",
        description="Environment variable with the token that gateways present to the knowledge process when they "
        "search on behalf of a caller. Both sides need it, unless they talk over loopback. It may hold several with "
        "spaces between them: the first is presented, each is accepted.",
    )

    @field_validator("token_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        if not _ENVIRONMENT_NAME.fullmatch(value):
            raise ValueError("must be the name of an environment variable, not the token itself")
        return value
