"""``loraplex eval``: run a suite against any OpenAI-compatible endpoint."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli import client
from serving.cli.client import Failed, fail
from serving.cli.command import Json

if TYPE_CHECKING:
    from training.evaluation.runner import Progress
    from training.evaluation.summary import Summary
    from training.evaluation.types import SuiteRun

INTERRUPTED = 130
"""Exit code: Ctrl-C."""


def evaluate(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="The suite's YAML file.", show_default=False)],
    *,
    model: Annotated[
        str, typer.Option("--model", help="What to ask for: a task, alias, version or base.", show_default=False)
    ],
    url: Annotated[str, typer.Option("--url", help="Any OpenAI-compatible endpoint.")] = client.DEFAULT_URL,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the run here as JSON. Run it again after an interruption, and it goes on."),
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the summary here.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=1024, help="Cases under way at once.")] = 8,
    repeats: Annotated[
        int | None, typer.Option("--repeats", min=1, max=100, help="Instead of the suite's own number.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first cases.")] = None,
    as_json: Json = False,
) -> None:
    """Run a suite against a model and print its metrics with 95 % intervals. One case that fails does not stop the
    others; the exit code is then 1.

    The API key comes from the environment variable LORAPLEX_API_KEY."""

    try:
        with _told():
            summary = _evaluated(suite, url, model, out, concurrency, repeats, limit, quiet=as_json)
            if markdown is not None:
                _write_markdown(markdown, summary)
    except Failed as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        again = "Run the same command again to complete it." if out else "Nothing is kept without --out."
        typer.echo(f"Interrupted. {again}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=2))
    else:
        from serving.cli.evaluation_tables import print_summary

        print_summary(summary)
    if summary.errors:
        raise typer.Exit(client.REFUSED)


@contextmanager
def _told() -> Iterator[None]:
    """Everything that a user can mend, as Failed."""
    from training import errors

    try:
        yield
    except ModuleNotFoundError as error:
        raise Failed(client.REFUSED, "training_not_installed", f"{error.name} is not installed.") from error
    except errors.EndpointUnreachable as error:
        raise Failed(client.UNREACHABLE, "unreachable", _sentence(error)) from error
    except errors.SuiteInvalid as error:
        raise Failed(client.REFUSED, "suite_invalid", _sentence(error)) from error
    except errors.RunRefused as error:
        raise Failed(client.REFUSED, "run_refused", _sentence(error)) from error
    except OSError as error:
        raise Failed(client.REFUSED, "not_written", f"Cannot write {error.filename}: {error.strerror}.") from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[0].upper() + text[1:]


def _evaluated(
    path: Path,
    url: str,
    model: str,
    out: Path | None,
    concurrency: int,
    repeats: int | None,
    limit: int | None,
    *,
    quiet: bool,
) -> "Summary":
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.runner import run_suite
    from training.evaluation.suite import load_suite
    from training.evaluation.summary import summarise

    suite = load_suite(path)
    if limit is not None and limit < len(suite.cases):
        suite = suite.with_cases(suite.cases[:limit])
    if repeats is not None:
        suite = replace(suite, repeats=repeats)

    async def work(tell: "Callable[[Progress], None]") -> "SuiteRun":
        async with Endpoint(url, os.environ.get(client.API_KEY_ENV, "")) as endpoint:
            await endpoint.reach()
            return await run_suite(suite, endpoint, model=model, concurrency=concurrency, out=out, progress=tell)

    with _progress(quiet=quiet) as tell:
        return summarise(suite, asyncio.run(work(tell)))


def _write_markdown(path: Path, summary: "Summary") -> None:
    from training.evaluation.markdown import render_markdown

    path.write_text(render_markdown(summary), encoding="utf-8")


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Callable[[Progress], None]]":
    """Tells how far it is, on a terminal alone."""
    if quiet or not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=None)

        def tell(progress: "Progress") -> None:
            failed = f", {progress.failed} failed" if progress.failed else ""
            bar.update(task, completed=progress.done, total=progress.total, description=f"asking{failed}")

        yield tell
