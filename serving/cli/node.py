"""``loraplex node``."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from serving.config import load_config
from serving.errors import ConfigInvalid

_BAD_CONFIG = 2
_CANNOT_START = 3


def node(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False),
    ],
    more: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments of `ray start`, after `--`.", metavar="[-- RAY_ARGUMENTS]", show_default=False),
    ] = None,
    *,
    head: Annotated[bool, typer.Option("--head", help="Be the first node of a new cluster.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Join the cluster whose head is at HOST:PORT.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the head.")] = 6379,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address of this machine for the others. Default: found out.", show_default=False),
    ] = None,
    cpus: Annotated[
        int | None, typer.Option("--cpus", min=0, help="CPU cores. Default: all.", show_default=False)
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs. Default: all.", show_default=False)] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            min=1,
            max=65535,
            help="Port for clients on this node, where `server.port` is taken, as by a node on the same machine. The "
            "head always has `server.port`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make this machine a node of a Ray cluster that `loraplex serve --ray-address` serves on, until Ctrl-C.

    What follows `--` goes to `ray start`: `-- --min-worker-port=20000 --max-worker-port=20999` narrows the ports that
    machines reach each other at.
    """
    # The process side is imported here, so that other commands need not wait for it.
    from serving.process import launch, launch_node

    if head == (address is not None):
        raise typer.BadParameter("give one of --head and --address HOST:PORT")
    if head and http_port is not None:
        raise typer.BadParameter("the head has `server.port`; drop --http-port")
    if address is not None and port != launch_node.DEFAULT_PORT:
        raise typer.BadParameter("--port is the head's own; write it into --address HOST:PORT")
    if address is not None and not address.rpartition(":")[2].isdecimal():
        raise typer.BadParameter("--address must be HOST:PORT, such as 10.0.0.1:6379")
    wanted = launch_node.Node(address, port, host, cpus, gpus, http_port, tuple(more or ()))
    try:
        status = launch_node.run_node(load_config(config), wanted, say=_say)
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_BAD_CONFIG) from None
    except launch.CannotStart as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_CANNOT_START) from None
    raise typer.Exit(status)


def _say(line: str) -> None:
    # A terminal that is gone must not take the node with it.
    with contextlib.suppress(OSError):
        typer.echo(line)
