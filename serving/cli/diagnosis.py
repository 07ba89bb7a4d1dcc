"""``loraplex diagnose``: does a failure want retrieval, training, or both?"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.client import API_KEY_ENV, DEFAULT_URL, REFUSED, UNREACHABLE, Failed, fail
from serving.cli.command import Json, Url

if TYPE_CHECKING:
    from training.diagnosis.diagnosis import Diagnosis
    from training.diagnosis.run import Wanted
    from training.diagnosis.types import Cell


Suite = Annotated[Path, typer.Argument(metavar="SUITE", help="Its cases have `context`.", show_default=False)]
Base = Annotated[str, typer.Option("--base", help="Model name of the base.", show_default=False)]
Adapter = Annotated[
    str, typer.Option("--adapter", help="Model name of the adapter: alias or version.", show_default=False)
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="VECTOR_STORE",
        help="Name or id; without one the grid has no retrieved context.",
        show_default=False,
    ),
]
Top = Annotated[int, typer.Option("--top", min=1, max=50, help="Passages for a question, as production gives.")]
Threshold = Annotated[
    float | None, typer.Option("--threshold", min=0, max=1, help="Least cosine of a passage; default: the store's own.")
]
Production = Annotated[
    str | None,
    typer.Option(
        "--production",
        metavar="CONTEXT/MODEL",
        help="Whose failures matter: none, retrieved or oracle, a slash, base or adapter. Default: retrieved/adapter; "
        "without a store none/adapter.",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="An answer is right where all of these are; default: the suite's primary one."),
]
RightAt = Annotated[
    float, typer.Option("--right-at", min=0, max=1, help="From which value on a metric counts as right.")
]
Repeats = Annotated[
    int | None,
    typer.Option("--repeats", min=1, max=100, help="Of each case in each cell; default: the suite's own number."),
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, max=1024, help="Requests under way at once.")]
Worthwhile = Annotated[
    float, typer.Option("--worthwhile", min=0, max=1, help="Share of all cases that a remedy must mend.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Keep answers here, and go on from them.", show_default=False),
]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page to this file.", show_default=False)]


def diagnose(
    suite: Suite,
    *,
    base: Base,
    adapter: Adapter,
    store: Store = None,
    top: Top = 3,
    threshold: Threshold = None,
    production: Production = None,
    metric: Metrics = None,
    right_at: RightAt = 1.0,
    repeats: Repeats = None,
    concurrency: Concurrency = 4,
    worthwhile: Worthwhile = 0.02,
    out: Out = None,
    html: Html = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Ask a suite with no, retrieved and oracle context, of the base and of the adapter; say why cases fail, and
    whether better retrieval, training or both would mend them.

    The API key comes from the environment variable LORAPLEX_API_KEY.
    """
    from training.diagnosis.recommendation import Policy
    from training.diagnosis.run import Wanted

    try:
        wanted = Wanted(
            base,
            adapter,
            url,
            api_key=os.environ.get(API_KEY_ENV, ""),
            store=store,
            top=top,
            threshold=threshold,
            repeats=repeats,
            concurrency=concurrency,
            production=_cell(production),
            metrics=tuple(metric or ()),
            right_at=right_at,
            policy=Policy(worthwhile=worthwhile),
        )
        found = _diagnosed(suite, wanted, out)
        _write(found, html)
    except Failed as error:
        fail(error, as_json=as_json)
    _show(found, as_json=as_json)


def _cell(production: str | None) -> "Cell | None":
    from training.diagnosis.types import Cell
    from training.errors import DiagnosisInvalid

    try:
        return None if production is None else Cell.parse(production)
    except DiagnosisInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--production") from None


def _diagnosed(path: Path, wanted: "Wanted", out: Path | None) -> "Diagnosis":
    import asyncio

    from training.diagnosis.run import diagnose_suite
    from training.errors import EndpointUnreachable, SearchFailed, TrainingError
    from training.evaluation.suite import load_suite

    try:
        return asyncio.run(diagnose_suite(load_suite(path), wanted, out=out, progress=_tell))
    except (EndpointUnreachable, SearchFailed) as error:
        raise Failed(UNREACHABLE, "unreachable", f"{error}.") from error
    except TrainingError as error:
        raise Failed(REFUSED, "diagnosis_refused", f"{error}.") from error


def _tell(done: int, total: int) -> None:
    """A line on standard error about twenty times."""
    if done == total or done % max(1, total // 20) == 0:
        typer.echo(f"{done} of {total} answers", err=True)


def _write(found: "Diagnosis", html: Path | None) -> None:
    if html is None:
        return
    from training.diagnosis.report import diagnosis_page

    try:
        html.write_text(diagnosis_page(found), encoding="utf-8")
    except OSError as error:
        raise Failed(REFUSED, "report_not_written", f"{html} cannot be written: {error.strerror}.") from error


def _show(found: "Diagnosis", *, as_json: bool) -> None:
    from training.diagnosis.report import diagnosis_markdown

    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else diagnosis_markdown(found), nl=as_json)
