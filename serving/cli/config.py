"""``loraplex config``: check a file, show what it comes to, print the reference."""

from pathlib import Path
from typing import Annotated

import typer

from serving.config import FakeEngineSettings, GatewayConfig, OpenAIEngineSettings, load_config
from serving.engine.vllm_environment import default_log_level
from serving.errors import ConfigInvalid

app = typer.Typer(no_args_is_help=True, help="Check a configuration file; print the reference.")

_File = Annotated[Path, typer.Argument(envvar="LORAPLEX_CONFIG", help="The gateway's YAML file.", show_default=False)]


@app.command()
def check(file: _File) -> None:
    """Validate FILE whole, the engine's arguments and this machine included. Exit 1 if anything is wrong."""
    config = _load(file)
    from serving.preflight import preflight

    with default_log_level("ERROR"):  # vLLM's remarks on this machine would bury ours
        problems = preflight(config)
    if problems:
        typer.echo(f"{file} is valid, but cannot start here:", err=True)
        for problem in problems:
            typer.echo(f"  - {problem}", err=True)
        raise typer.Exit(1)
    _print_summary(file, config)


@app.command()
def show(file: _File) -> None:
    """Print FILE with every default filled in and every path absolute."""
    import yaml

    typer.echo(yaml.safe_dump(_load(file).model_dump(mode="json"), sort_keys=False), nl=False)


@app.command()
def reference(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.", show_default=False)
    ] = None,
) -> None:
    """Print the reference of every setting, in Markdown."""
    from serving.settings.reference import configuration_reference

    text = configuration_reference()
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _load(file: Path) -> GatewayConfig:
    try:
        return load_config(file)
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _print_summary(file: Path, config: GatewayConfig) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in _summary(config).items():
        grid.add_row(f"[bold]{name}[/]", escape(value))
    console = Console(soft_wrap=True)
    console.print(f"[green]{escape(str(file))} is valid.[/]")
    console.print(grid)


def _summary(config: GatewayConfig) -> dict[str, str]:
    """What the file comes to, a line for each part."""
    adapters = config.adapters
    tasks = [f"{name} ({task.adapter or 'base model'})" for name, task in config.tasks.items()]
    keys = [f"{key.name}{' (admin)' if key.admin else ''}" for key in config.api_keys]
    gpus = f", {config.gpus_per_replica:g} GPUs each" if config.gpus_per_replica else ""
    return {
        "model": f"{config.model.public_name}, from {config.model.id}",
        "engine": _engine_summary(config),
        "address": f"http://{_bracketed(config.server.host)}:{config.server.port}/v1",
        "authentication": "required" if config.authentication_required else "off",
        "replicas": f"{config.replicas}{gpus}",
        "adapters": (
            f"{adapters.slots} slots, {adapters.cpu_slots} loaded at most, rank {adapters.max_rank} at most"
            if config.serves_adapters
            else "none"
        ),
        "preload": ", ".join(source.name for source in adapters.preload) or "none",
        "tasks": ", ".join(tasks) or "none",
        "api keys": ", ".join(keys) or "none",
        "state": _without_password(config.state.url),
        "artifacts": config.artifacts.url,
    }


def _engine_summary(config: GatewayConfig) -> str:
    engine = config.engine
    if isinstance(engine, OpenAIEngineSettings):
        return f"openai, {engine.url}"
    if isinstance(engine, FakeEngineSettings):
        return "fake: answers without a model"
    return ", ".join(["vllm", *(f"{name}={value}" for name, value in engine.args.items())])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_password(url: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)
