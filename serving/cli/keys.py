"""``loraplex keys``: make API keys."""

import hashlib
import re
import secrets
from typing import Annotated

import typer
import yaml

from serving.config import NAME_PATTERN

app = typer.Typer(no_args_is_help=True, help="Make API keys.")

PREFIX = "lpx-"
_BYTES = 32


@app.callback()
def _keys() -> None:
    """Make API keys."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who the key belongs to; appears in metrics and logs.")],
    models: Annotated[
        str | None,
        typer.Option("--models", help="Names that it may use, with commas between them. Default: all."),
    ] = None,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="It may use the admin API.")] = False,
) -> None:
    """Make a key. It is printed once and stored nowhere; the configuration gets its hash."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise typer.BadParameter("use letters, digits, dots, hyphens and underscores, 63 at most", param_hint="NAME")
    allowed = [model.strip() for model in (models or "*").split(",")]
    if not all(allowed):
        raise typer.BadParameter("one of the names is empty", param_hint="--models")
    key, digest = make_key()
    entry: dict[str, object] = {"name": name, "hash": digest, "models": allowed} | ({"admin": True} if admin else {})
    typer.echo(f"Key of {name}. It is shown only now:\n\n  {key}\n\nAdd this to the configuration file:\n")
    typer.echo(yaml.safe_dump({"api_keys": [entry]}, sort_keys=False), nl=False)


def make_key() -> tuple[str, str]:
    """A new random key, and the hash that the configuration holds for it."""
    key = PREFIX + secrets.token_urlsafe(_BYTES)
    # The key has 256 random bits, so a plain hash cannot be guessed back and a slow one would only cost every request.
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
