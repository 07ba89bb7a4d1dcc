"""``loraplex ingest``: files, folders and pages into a vector store."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import client
from serving.cli.client import Failed
from serving.cli.command import Json, Url, run

if TYPE_CHECKING:
    from serving.cli.ingesting import Report, Wanted

INTERRUPTED = 130
"""Exit code: Ctrl-C."""

_MAX_BYTES = 64 * 1024**2
_KEPT = ("source", "origin", "labels")
_TEXTS = ("title", "version")


def ingest(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, globs, URLs.", show_default=False)
    ],
    *,
    to: Annotated[
        str,
        typer.Option("--to", help="Vector store, by name or id; made if no store has the name.", show_default=False),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Who may see the documents: keys with any of the labels. Default: every key."),
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="KEY=VALUE", help="What searches may filter by.")
    ] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Remove what these sources held before and do not now.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every document can be searched.")] = True,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1, help="Largest file that is taken.")] = _MAX_BYTES,
    url: Url = client.DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Bring a vector store to what the sources hold. Only what is new or changed is uploaded; run it again after an
    interruption, and it goes on. One file that fails does not stop the others; the exit code is then 1.

    The API key comes from the environment variable LORAPLEX_API_KEY."""
    attributes = dict(_attribute(one) for one in attribute or ())
    labels = tuple(part.strip() for one in label or () for part in one.split(","))
    if not all(labels):
        raise typer.BadParameter("an empty label", param_hint="--label")

    def work() -> dict[str, Any]:
        from serving.cli.ingesting import Wanted

        return _ingested(url, to, Wanted(tuple(sources), labels, attributes, max_bytes, sync, wait), quiet=as_json)

    try:
        answer = run(work, _show, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo("Interrupted. Run the same command again to complete it.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if answer["failures"]:
        raise typer.Exit(client.REFUSED)


def _attribute(text: str) -> tuple[str, str | float | bool]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--attribute")
    if key in _KEPT:
        hint = "; give --label" if key == "labels" else ""
        raise typer.BadParameter(f"`{key}` is kept by this command{hint}", param_hint="--attribute")
    return key, value if key in _TEXTS else _typed(value)


def _typed(text: str) -> str | float | bool:
    """Numbers and truth values as JSON has them; everything else is text, ``007`` and ``1_000`` too."""
    try:
        value = json.loads(text)
        number = value if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except (ValueError, OverflowError, RecursionError):
        return text
    return number if isinstance(number, bool) or (isinstance(number, float) and math.isfinite(number)) else text


def _ingested(url: str, name: str, wanted: "Wanted", *, quiet: bool) -> dict[str, Any]:
    """What came of it, as ``--json`` prints it. Raises Failed."""
    try:
        from retrieval.errors import AttributesInvalid
        from serving.cli.ingesting import Ingest, check_attributes
    except ModuleNotFoundError as error:
        raise Failed(client.REFUSED, "knowledge_not_installed", f"{error.name} is not installed.") from error
    from serving.cli.stores import StoresClient

    try:
        check_attributes(wanted)
    except AttributesInvalid as error:
        raise Failed(client.REFUSED, "invalid_attributes", f"{error}.") from error
    stores = StoresClient(url)
    store = stores.named(name)
    made = store is None
    if store is None:
        if name.startswith("vs_"):
            raise Failed(client.REFUSED, "vector_store_not_found", f"There is no vector store `{name}`.")
        store = stores.create(name)
    if store["status"] == "expired":
        raise Failed(client.REFUSED, "store_expired", f"The vector store `{name}` has expired; remove it first.")
    with _progress(quiet=quiet) as tell:
        report = Ingest(stores, store, wanted, tell).run()
    return _result(store, report, made=made, waited=wanted.waits)


def _result(store: dict[str, Any], report: "Report", *, made: bool, waited: bool) -> dict[str, Any]:
    from serving.cli.ingesting import Outcome

    def listed(reasons: dict[str, str]) -> list[dict[str, str]]:
        return [{"path": path, "reason": reason} for path, reason in reasons.items()]

    return {
        "object": "ingest.result",
        "store": {"id": store["id"], "name": store["name"], "made": made},
        **{outcome.value: report.count(outcome) for outcome in Outcome},
        "removed": report.removed,
        "failed": len(report.failures),
        "skipped": len(report.skipped),
        "passages": report.passages if waited else None,
        "failures": listed(report.failures),
        "left_out": listed(report.skipped),
    }


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """Shows how far it is, on a terminal alone."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell


def _show(answer: dict[str, Any]) -> None:
    from serving.cli.printing import plain

    for failure in answer["failures"]:
        typer.echo(plain(f"{failure['path']}: {failure['reason']}"), err=True)
    counts = [f"{answer[what]} {what}" for what in ("new", "updated", "unchanged", "removed", "failed", "skipped")]
    store = answer["store"]
    made = ", a new vector store" if store["made"] else ""
    passages = "" if answer["passages"] is None else f" ({answer['passages']} passages)"
    typer.echo(f"{store['name'] or store['id']}{made}: {', '.join(counts)}{passages}")
    if answer["passages"] is None:
        typer.echo(f"`loraplex knowledge show {store['id']}` tells how the ingestion fares")
