"""``loraplex jobs``: fine-tuning jobs over ``/v1/fine_tuning/jobs``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.cli import client
from serving.cli.client import REFUSED, ApiClient, Failed, path_part
from serving.cli.command import EXIT_CODES, Json, Url, run

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"The API key comes from the environment variable {client.API_KEY_ENV}. {EXIT_CODES}",
)

Job = Annotated[str, typer.Argument(metavar="JOB", help="Such as ftjob-3f9a1c2e….", show_default=False)]

_JOBS = "/fine_tuning/jobs"


@app.command("ls")
def list_jobs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many jobs.")] = 20,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """The jobs, the newest first."""
    _run(lambda: ApiClient(url, "/v1").get(_JOBS, {"limit": str(limit)}), "jobs", as_json=as_json)


@app.command()
def show(job: Job, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """One job in full."""
    _run(lambda: ApiClient(url, "/v1").get(_path(job)), "job", as_json=as_json)


@app.command()
def events(
    job: Job,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many events.")] = 50,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """What happened lately, the oldest first."""
    _run(lambda: ApiClient(url, "/v1").get(f"{_path(job)}/events", {"limit": str(limit)}), "events", as_json=as_json)


@app.command()
def cancel(job: Job, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """End a job for good."""
    _post(url, job, "cancel", as_json=as_json)


@app.command()
def pause(job: Job, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Have a job write a checkpoint and give up its place."""
    _post(url, job, "pause", as_json=as_json)


@app.command()
def resume(job: Job, *, url: Url = client.DEFAULT_URL, as_json: Json = False) -> None:
    """Let a paused job go on."""
    _post(url, job, "resume", as_json=as_json)


@app.command()
def create(
    model: Annotated[str, typer.Argument(help="The base model's public name.", show_default=False)],
    train: Annotated[Path, typer.Argument(help="Training rows, JSONL.", show_default=False)],
    *,
    heldout: Annotated[Path | None, typer.Option("--heldout", help="Rows that are only measured on.")] = None,
    adapter: Annotated[str | None, typer.Option("--adapter", help="Adapter that the result is a version of.")] = None,
    method: Annotated[str, typer.Option("--method", help="`supervised` or `dpo`.")] = "supervised",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, max=50, help="Passes over the rows.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Default: one is drawn.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="LoRA rank.")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", help="Finding that is not to forbid it.")] = None,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Upload the files and create a job."""
    hyperparameters = {} if epochs is None else {"n_epochs": epochs}
    body: dict[str, Any] = {
        "model": model,
        "method": {"type": method, method: {"hyperparameters": hyperparameters}},
        "seed": seed,
        "loraplex": {
            "adapter": adapter,
            "recipe": {} if rank is None else {"rank": rank},
            "allow": allow or [],
        },
    }

    def call() -> Any:
        api = ApiClient(url, "/v1")
        body["training_file"] = _upload(api, train)
        if heldout is not None:
            body["validation_file"] = _upload(api, heldout)
        return api.post(_JOBS, body)

    _run(call, "job", as_json=as_json)


def _upload(api: ApiClient, path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failed(REFUSED, "file_unreadable", f"{path} cannot be read: {error.strerror or error}.") from error
    return str(api.upload("/files", path.name, data, {"purpose": "fine-tune"})["id"])


def _path(job: str) -> str:
    return f"{_JOBS}/{path_part(job)}"


def _post(url: str, job: str, action: str, *, as_json: bool) -> None:
    _run(lambda: ApiClient(url, "/v1").post(f"{_path(job)}/{action}"), "job", as_json=as_json)


def _run(call: Callable[[], Any], view: str, *, as_json: bool) -> None:
    def print_answer(answer: Any) -> None:
        from serving.cli import job_tables

        job_tables.PRINTERS[view](answer)

    run(call, print_answer, as_json=as_json)
