"""``loraplex serve``."""

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serving.config import load_config
from serving.errors import ConfigInvalid


class Part(StrEnum):
    """What can run alone."""

    CONTROL = "control"
    KNOWLEDGE = "knowledge"


_BAD_CONFIG = 2
_CANNOT_START = 3


def serve(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False),
    ],
    *,
    local: Annotated[
        bool, typer.Option("--local", help="One process without Ray and HAProxy, for development.")
    ] = False,
    only: Annotated[
        Part | None,
        typer.Option(
            "--only",
            help="Run one part alone, for gateways that name it under `services` in the same file.",
            show_default=False,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="Join this Ray cluster instead of starting Ray here.", show_default=False),
    ] = None,
) -> None:
    """Start the gateway and serve until Ctrl-C."""
    # The process side is imported here, so that other commands need not wait for it.
    from serving.process import launch

    if local and ray_address:
        raise typer.BadParameter("--local runs without Ray; drop one of --local and --ray-address")
    if only and (local or ray_address):
        raise typer.BadParameter("--only runs one part without a gateway; drop --local and --ray-address")
    try:
        settings = load_config(config)
        if local and settings.replicas > 1:
            typer.echo(f"--local runs 1 replica; `replicas: {settings.replicas}` needs Ray")
        status = launch.run(
            settings, local=local, ray_address=ray_address, only=None if only is None else only.value, say=_say
        )
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_BAD_CONFIG) from None
    except launch.CannotStart as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_CANNOT_START) from None
    raise typer.Exit(status)


def _say(line: str) -> None:
    # A terminal that is gone must not take the gateway with it.
    with contextlib.suppress(OSError):
        typer.echo(line)
