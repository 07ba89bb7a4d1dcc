"""``loraplex node``."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.config import load_config
from serving.errors import ConfigInvalid

if TYPE_CHECKING:
    from serving.process.launch_node import Node

_BAD_CONFIG = 2
_CANNOT_START = 3
_HEAD_PORT = 6379


_Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False),
]
_More = Annotated[
    list[str] | None,
    typer.Argument(help="Arguments of `ray start`, after two hyphens.", metavar="RAY_ARGUMENTS", show_default=False),
]
_Head = Annotated[bool, typer.Option("--head", help="Be the first node of a new cluster.")]
_Address = Annotated[
    str | None, typer.Option("--address", help="Join the cluster whose head is at HOST:PORT.", show_default=False)
]
_Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the head.")]
_Host = Annotated[
    str | None,
    typer.Option("--host", help="Address of this machine for the others. Default: found out.", show_default=False),
]
_Cpus = Annotated[int | None, typer.Option("--cpus", min=0, help="CPU cores. Default: all.", show_default=False)]
_Gpus = Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs. Default: all.", show_default=False)]
_HttpPort = Annotated[
    int | None,
    typer.Option(
        "--http-port",
        min=1,
        max=65535,
        help="Port for clients on this node, where `server.port` is taken, as by a node on the same machine. The head "
        "always has `server.port`.",
        show_default=False,
    ),
]


def node(
    config: _Config,
    more: _More = None,
    *,
    head: _Head = False,
    address: _Address = None,
    port: _Port = _HEAD_PORT,
    host: _Host = None,
    cpus: _Cpus = None,
    gpus: _Gpus = None,
    http_port: _HttpPort = None,
) -> None:
    """Make this machine a node of a Ray cluster that `loraplex serve --ray-address` serves on, until Ctrl-C.

    What follows two hyphens goes to `ray start`, such as the ports that machines reach each other at.
    """
    # The process side is imported here, so that other commands need not wait for it.
    from serving.process import launch, launch_node

    wanted = launch_node.Node(address, port, host, cpus, gpus, http_port, tuple(more or ()))
    _check(wanted, head=head)
    try:
        status = launch_node.run_node(load_config(config), wanted, say=_say)
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_BAD_CONFIG) from None
    except launch.CannotStart as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_CANNOT_START) from None
    raise typer.Exit(status)


def _check(wanted: "Node", *, head: bool) -> None:
    if head == (wanted.address is not None):
        raise typer.BadParameter("give one of --head and --address HOST:PORT")
    if head and wanted.http_port is not None:
        raise typer.BadParameter("the head has `server.port`; drop --http-port")
    if wanted.address is not None and wanted.port != _HEAD_PORT:
        raise typer.BadParameter("--port is the head's own; write it into --address HOST:PORT")
    if wanted.address is not None and not wanted.address.rpartition(":")[2].isdecimal():
        raise typer.BadParameter("--address must be HOST:PORT, such as 10.0.0.1:6379")


def _say(line: str) -> None:
    # A terminal that is gone must not take the node with it.
    with contextlib.suppress(OSError):
        typer.echo(line)
