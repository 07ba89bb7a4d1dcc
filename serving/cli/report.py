"""``loraplex report``: the last hours or days on one page."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.client import DEFAULT_URL, REFUSED, AdminClient, ApiClient, Failed, no_metrics
from serving.cli.command import Json, Url, run

if TYPE_CHECKING:
    from serving.cli.report_data import Event, Findings, Span

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_SHORTEST_S = 60
_LONGEST_S = 366 * 86400
_EVENTS = 1000
"""What the admin API gives at most."""
_TIMEOUT_S = 30.0

Since = Annotated[str, typer.Option("--since", help="How far back: a number and m, h, d or w.")]
PrometheusUrl = Annotated[
    str | None,
    typer.Option(
        "--prometheus",
        metavar="URL",
        help="Prometheus that scrapes the gateway; without one the page has totals and the history alone.",
        show_default=False,
    ),
]
Job = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="NAME",
        help="Scrape job of the gateway in that Prometheus; needed where it scrapes several gateways.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the page.")]


def report(
    *,
    since: Since = "24h",
    prometheus: PrometheusUrl = None,
    job: Job = None,
    out: Out = Path("report.html"),
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Write one HTML file, which needs nothing else, about requests, errors, latency by task and version, adapter
    changes, drift, quality and retrieval.

    An administrator's API key comes from the environment variable LORAPLEX_API_KEY; a Prometheus gets its user name
    and password in its URL, and never that key.
    """
    since_s = _since(since)
    if job is not None and prometheus is None:
        raise typer.BadParameter("is of a Prometheus: give --prometheus, too", param_hint="--job")

    def make() -> dict[str, Any]:
        return _write(since_s, prometheus, job, out, url)

    def show(made: dict[str, Any]) -> None:
        from serving.cli.printing import say

        say(f"wrote {made['out']}, from {made['source']}")
        for note in made["notes"]:
            say(f"note: {note}", style="yellow")

    run(make, show, as_json=as_json)


def _write(since_s: int, prometheus: str | None, job: str | None, out: Path, url: str) -> dict[str, Any]:
    """What was written. Raises Failed."""
    try:
        from serving.cli.report_page import report_html
    except ModuleNotFoundError as error:
        message = f"Plots need the package {error.name}, which is not installed."
        raise Failed(REFUSED, "report_not_installed", message) from error
    from serving.cli.report_data import span_of

    span = span_of(since_s, time.time())
    found = _from_gateway(url, span) if prometheus is None else _from_prometheus(prometheus, job, url, span)
    try:
        out.write_text(report_html(found), encoding="utf-8")
    except OSError as error:
        raise Failed(REFUSED, "report_not_written", f"{out} cannot be written: {error.strerror}.") from error
    return {
        "out": str(out),
        "source": found.source,
        "start": span.start,
        "end": span.end,
        "requests": sum(sum(counts.values()) for counts in found.outcomes.values()),
        "changes": len(found.events),
        "notes": list(found.notes),
    }


def _from_gateway(url: str, span: "Span") -> "Findings":
    from dataclasses import replace

    from monitoring.readings import read_exposition
    from serving.cli.report_data import from_gateway

    text = ApiClient(url, "", timeout_s=_TIMEOUT_S).text("/metrics")
    scrape = read_exposition(text, span.end)
    if not scrape.series:
        raise no_metrics(url)
    events, notes = _events(url, span)
    return replace(from_gateway(scrape, url, span, events), notes=notes)


def _from_prometheus(prometheus: str, job: str | None, url: str, span: "Span") -> "Findings":
    from dataclasses import replace

    from serving.cli.prometheus import Prometheus
    from serving.cli.report_data import from_prometheus

    asked = Prometheus(prometheus)
    events: list[Event] | None = None
    try:
        events, notes = _events(url, span)
    except Failed as error:
        told = f"The gateway's history could not be read; adapter changes are as the metrics tell them. {error}"
        notes = (told,)
    try:
        return replace(from_prometheus(asked, span, events, job), notes=notes)
    finally:
        asked.close()


def _events(url: str, span: "Span") -> "tuple[list[Event], tuple[str, ...]]":
    """The history since the span began, and what is to be said of it. Raises Failed."""
    from serving.cli.report_data import events_of

    history = AdminClient(url, timeout_s=_TIMEOUT_S).get("/history", {"limit": str(_EVENTS)})
    try:
        events = events_of(history, span)
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(REFUSED, "not_a_gateway", f"{url} does not answer as a gateway does: {error!r}.") from error
    if len(events) < _EVENTS:
        return events, ()
    return events, (f"The gateway tells its {_EVENTS} newest changes; there may have been more in this time.",)


def _since(text: str) -> int:
    """Seconds. Raises BadParameter."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise typer.BadParameter("such as 90m, 24h, 7d or 2w, a year at most", param_hint="--since")
    return seconds
