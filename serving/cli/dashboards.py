"""``loraplex dashboards``: Grafana dashboards and Prometheus rules, written from the metric catalogue."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from monitoring.slo import Objective

app = typer.Typer(no_args_is_help=True, help="Write Grafana dashboards and Prometheus rules.")

_NOT_AS_BUILT = 1


@app.callback()
def _dashboards() -> None:
    """Write Grafana dashboards and Prometheus rules."""


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; it is made.")] = Path("dashboards"),
    config: Annotated[
        Path | None,
        typer.Option("--config", help="A gateway's file: adds the budgets and alerts of its tasks' `slo`."),
    ] = None,
    job: Annotated[
        str, typer.Option("--job", help="Name of the gateway's scrape job in Prometheus' configuration.")
    ] = "loraplex",
    runbooks: Annotated[
        str, typer.Option("--runbooks", help="Address of the runbook pages. Default: their place in the repository.")
    ] = "docs/runbooks",
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say what differs, and exit 1 if anything does.")
    ] = False,
) -> None:
    """Write Grafana dashboards (folder `grafana`) and Prometheus rules (folder `prometheus`).

    Import the dashboards or provision them; name the rules under `rule_files`. The same input gives the same bytes.
    """
    from monitoring.dashboards.build import BuildOptions
    from monitoring.dashboards.build import build as build_files

    files = build_files(BuildOptions(job, runbooks, _objectives(config)))
    stale = _stale(out, files)
    if check:
        _compare(out, files, stale)
        return
    try:
        for name, text in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"{out} cannot be written: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"Wrote {len(files)} files to {out}.")
    for name in stale:
        typer.echo(f"{out / name} is of an earlier build and not made any more; remove it.", err=True)


def _objectives(config: Path | None) -> "tuple[Objective, ...]":
    if config is None:
        return ()
    from serving.config import load_config
    from serving.errors import ConfigInvalid
    from serving.objectives import objectives_of

    try:
        found = objectives_of(load_config(config))
    except ConfigInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if not found:
        typer.echo(f"No task of {config} has a section `slo`: there are no budgets to watch.", err=True)
    return found


def _stale(out: Path, files: Mapping[str, str]) -> list[str]:
    """Files that an earlier build wrote and this one does not."""
    from monitoring.dashboards.build import FOLDERS, PREFIX

    there = [path.relative_to(out).as_posix() for folder in FOLDERS for path in (out / folder).glob(f"{PREFIX}*")]
    return sorted(set(there) - files.keys())


def _compare(out: Path, files: Mapping[str, str], stale: list[str]) -> None:
    problems = [f"{out / name}: {problem}" for name, text in files.items() if (problem := _problem(out / name, text))]
    problems += [f"{out / name}: is not made any more" for name in stale]
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(_NOT_AS_BUILT)
    typer.echo(f"{out} is as it would be built.")


def _problem(path: Path, text: str) -> str:
    try:
        return "" if path.read_text(encoding="utf-8") == text else "differs from what would be built"
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
