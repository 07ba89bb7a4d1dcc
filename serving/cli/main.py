"""``loraplex``: the command line. Commands are imported when they are used, so that help and quick ones start fast."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class _Command:
    """Where a command lives, and its line in the list of commands."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "serve": _Command("serving.cli.serve", "serve", "Start the gateway and serve until Ctrl-C."),
    "node": _Command("serving.cli.node", "node", "Make this machine a node of a Ray cluster."),
    "adapters": _Command("serving.cli.adapters", "app", "Add adapters, roll them out, see what is loaded where."),
    "top": _Command("serving.cli.top", "top", "Show live what the gateway does."),
    "report": _Command("serving.cli.report", "report", "Write a page about the last hours or days, with plots."),
    "ingest": _Command("serving.cli.ingest", "ingest", "Bring a vector store to what files, folders and pages hold."),
    "knowledge": _Command("serving.cli.knowledge", "app", "Look into vector stores, search them, tune the search."),
    "train": _Command("serving.cli.training", "app", "Check training data, and train on this machine."),
    "monitoring": _Command("serving.cli.monitoring", "app", "See drift and output quality of tasks and versions."),
    "jobs": _Command("serving.cli.jobs", "app", "Fine-tune: create jobs, follow, pause and cancel them."),
    "eval": _Command("serving.cli.evaluation", "evaluate", "Run a suite against a model, and say how sure that is."),
    "gate": _Command("serving.cli.gate", "gate", "Say whether a candidate may take the current version's place."),
    "diagnose": _Command(
        "serving.cli.diagnosis", "diagnose", "Say whether failures want retrieval, training, or both."
    ),
    "doctor": _Command("serving.cli.doctor", "doctor", "Say what is wrong with an installation, in plain words."),
    "dashboards": _Command("serving.cli.dashboards", "app", "Write Grafana dashboards and Prometheus rules."),
    "migrate": _Command("serving.cli.migrate", "migrate", "Bring the state database to the present schema."),
    "size": _Command("serving.cli.size", "size", "Say what GPUs and memory a model, its adapters and traffic take."),
    "backup": _Command("serving.cli.backup", "backup", "Back up state, adapters, files and passages, while it serves."),
    "restore": _Command(
        "serving.cli.backup", "restore", "Bring a backup into a new installation; check and list them."
    ),
    "config": _Command("serving.cli.config", "app", "Check a configuration file; print the reference."),
    "keys": _Command("serving.cli.keys", "app", "Make API keys."),
}


def build_app(wanted: str | None = None) -> typer.Typer:
    """The whole command line; with ``wanted``, the other commands are only listed and their modules not imported."""
    # Plain help: rich takes longer to import than everything else here.
    app = typer.Typer(name="loraplex", no_args_is_help=True, help=_ABOUT, rich_markup_mode=None)
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if wanted not in (None, name):
            app.command(name, help=command.help)(_not_loaded)
            continue
        found = getattr(importlib.import_module(command.module), command.attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=command.help)
        else:
            app.command(name, help=inspect.getdoc(found), short_help=command.help)(found)
    return app


def main() -> None:
    """Entry point of the console command."""
    completing = "_LORAPLEX_COMPLETE" in os.environ
    build_app(None if completing else _wanted(sys.argv[1:]))()


_ABOUT = "An OpenAI-compatible inference gateway: one base model, many LoRA adapters, hot-swapped per task."


def _wanted(arguments: Sequence[str]) -> str:
    """The command that is asked for; empty where it is the list of commands."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _not_loaded() -> None:
    raise AssertionError("a command that was not asked for cannot run")


def _print_version(*, value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"loraplex {version('loraplex')}")
        raise typer.Exit


_show_version: Callable[[bool], None] = lambda value: _print_version(value=value)  # noqa: E731


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
