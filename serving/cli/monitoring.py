"""``loraplex monitoring``: drift and output quality of tasks and versions, over the admin API."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from serving.cli import client
from serving.cli.client import AdminClient, path_part
from serving.cli.command import EXIT_CODES, Json, Url, run

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"The API key comes from the environment variable {client.API_KEY_ENV}. {EXIT_CODES}",
)

Task = Annotated[str, typer.Argument(help="A task, an adapter, or the base model.", show_default=False)]


@app.command("ls")
def list_tasks(*, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Every task: what has drifted, and the quality of each version."""
    _run(lambda: AdminClient(url).get("/monitoring"), "print_overview", as_json=as_json)


@app.command()
def show(task: Task, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """One task: its windows, every signal, the parts of the quality, the most unusual requests."""
    _run(lambda: AdminClient(url).get(f"/monitoring/{path_part(task)}"), "print_task", as_json=as_json)


@app.command()
def reference(
    task: Task,
    *,
    version: Annotated[
        str | None,
        typer.Option("--version", help="The version whose training data it is; default: the task's requests of late."),
    ] = None,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Compare a task's requests with another reference from now on."""
    body = {} if version is None else {"version": version}
    path = f"/monitoring/{path_part(task)}/reference"
    _run(lambda: AdminClient(url).post(path, body), "print_reference", as_json=as_json)


def _run(call: Callable[[], Any], printer: str, *, as_json: bool) -> None:
    def show_it(answer: Any) -> None:
        from serving.cli import monitoring_tables

        getattr(monitoring_tables, printer)(answer)

    run(call, show_it, as_json=as_json)
