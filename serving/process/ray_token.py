"""The token that the nodes of a Ray cluster know each other by. Ray reads it where Ray's own programs look for it."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105  (a variable's name)
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"  # noqa: S105  (a variable's name)

_OFF = "disabled"


def token_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The file that holds the token, where no variable does."""
    given = environment.get(TOKEN_PATH, "").strip()
    return Path(given).expanduser() if given else Path.home() / ".ray" / "auth_token"


def is_off(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the operator wants no token: whoever reaches Ray's ports then runs what he likes."""
    return environment.get(MODE, "").strip().lower() == _OFF


def has_token(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a token for Ray to read."""
    if environment.get(TOKEN, "").strip():
        return True
    try:
        return bool(token_file(environment).read_text(encoding="utf-8").strip())
    except OSError:
        return False


def make_token(environment: Mapping[str, str] = os.environ) -> Path:
    """Write a new token, readable by this user alone. Returns the file. Raises OSError."""
    path = token_file(environment)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))
    return path


def token_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What has Ray ask for the token, and present it, where there is one; nothing where there is none."""
    return {MODE: "token"} if not is_off(environment) and has_token(environment) else {}
