"""What every section shares: frozen, strict, and closed to unknown keys."""

import os.path
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
HASH_PATTERN = r"^sha256:[0-9a-f]{64}$"
URL_PATTERN = r"^https?://[^\s/]+"
LABEL_PATTERN = r"^[^\s,](?:[^,\n]{0,62}[^\s,])?$"

PATTERN_HINTS = {
    NAME_PATTERN: "must start with a letter or digit and hold only letters, digits, `.`, `_` and `-`, 63 at most",
    HASH_PATTERN: "must be `sha256:` and 64 hex digits; `loraplex keys new NAME` makes one",
    LABEL_PATTERN: "must be 1 to 64 characters without a comma, and not begin or end with a space",
    URL_PATTERN: "must be a URL that starts with `http://` or `https://`",
}
"""What to say in place of a regular expression."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]

# YAML has lists and text where Python has tuples and paths: these two convert, everything else is strict.
_Item = TypeVar("_Item")
Items = Annotated[tuple[_Item, ...], Strict(False)]
Label = Annotated[str, Field(pattern=LABEL_PATTERN)]
FilePath = Annotated[Path, Strict(False)]


class Settings(BaseModel):
    """Base of every section."""

    # Strict, because `port: "8000"`, `enabled: 1` and `replicas: true` are more often slips than intentions.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )


def is_local_path(source: str) -> bool:
    """Whether ``source`` is written as a path of this machine, rather than as a hub id or a URL."""
    return source.startswith(("/", "./", "../", "~")) or source in (".", "..")


def absolute(source: str, base: Path) -> str:
    """``source`` as an absolute path if it names something local, unchanged if it is a URL or a hub id.

    ``org/model`` is ambiguous: it is a path where such a folder exists under ``base``, and a hub id otherwise.
    """
    if "://" in source:
        return source
    path = absolute_path(Path(source), base)
    return str(path) if is_local_path(source) or _exists(path) else source


def absolute_path(path: Path, base: Path) -> Path:
    """``path`` made absolute from ``base``, without following links."""
    return Path(os.path.normpath(base / os.path.expanduser(path)))  # noqa: PTH111  (pathlib's raises for `~nobody`)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than the file system allows
        return False
