"""Writes the pages that are made from the code: ``python -m docs.generate`` (``make docs``)."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main

from docs.chart_files import chart_files
from monitoring.catalogue import CATALOGUE, ENGINE_SERIES, MetricSpec
from serving.cli.main import build_app
from serving.errors import ERROR_TABLE, Answer
from serving.settings.reference import configuration_reference

_HERE = Path(__file__).parent
_CHART = _HERE.parent / "helm" / "loraplex"


def metrics_reference() -> str:
    """docs/metrics.md, from the catalogue."""
    rows = "".join(_metric_row(spec) for spec in CATALOGUE)
    buckets = "".join(f"- `{spec.name}`: {_bounds(spec)}\n" for spec in CATALOGUE if spec.buckets)
    engine = "".join(f"- `{name}`\n" for name in ENGINE_SERIES)
    return (
        "# Metrics\n\n"
        "<!-- Written by `make docs` from monitoring/catalogue.py; do not edit. -->\n\n"
        "`GET /metrics` answers for all replicas at once, whichever of them is asked. Every sample carries the label "
        "`replica`. The engine's own metrics (`vllm:…`) follow ours. Formats, single replicas, service discovery and "
        "limits: [monitoring.md](monitoring.md#metrics-and-scraping).\n\n"
        "`task` is the task, alias, version or base model that the caller named; `adapter` the version that answered, "
        "or `base`; `role` is `stable`, `canary`, `shadow`, `exact` or `base`. Names that nobody configured never "
        "become labels.\n\n"
        "| metric | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
        f"{rows}\n## Buckets\n\n{buckets}"
        "\n## The engine's metrics\n\nThese of the pinned vLLM are what dashboards and alerts read. One that is "
        "missing when the engine has started is told in the log, in `/readyz` and by "
        f"`loraplex_engine_series_missing`.\n\n{engine}"
    )


def _metric_row(spec: MetricSpec) -> str:
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"| `{spec.name}` | {spec.kind} | {spec.unit} | {labels} | {_cell(spec.help)} |\n"


def _bounds(spec: MetricSpec) -> str:
    return ", ".join(f"{bound:g}" for bound in spec.buckets) + f" {spec.unit}"


def errors_reference() -> str:
    """docs/errors.md, from the error table."""
    # The classes that only group others have the code of their most general member.
    leaves = [
        cls for cls in ERROR_TABLE if cls is Exception or not any(cls in other.__mro__[1:] for other in ERROR_TABLE)
    ]
    rows = "".join(_error_row(cls, ERROR_TABLE[cls]) for cls in leaves)
    return (
        "# Errors\n\n"
        "<!-- Written by `make docs` from serving/errors.py; do not edit. -->\n\n"
        "Every error has OpenAI's body, on every path, so that OpenAI's clients raise their own classes:\n\n"
        '```json\n{"error": {"message": "…", "type": "…", "param": null, "code": "…"}}\n```\n\n'
        "An error after the first byte of a stream is a last event with the same body; then the stream closes, without "
        "`[DONE]`. An answer with Retry-After is worth sending again after that many seconds.\n\n"
        "| code | status | type | Retry-After | meaning |\n| --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
        "`adapter_rejected` stands for the code of its cause: [adapters.md](adapters.md#refusals) lists them. A "
        "request that the engine itself refuses keeps the engine's status, type and code.\n"
    )


def _error_row(cls: type[Exception], answer: Answer) -> str:
    meaning = "Anything unexpected; the log has the cause." if cls is Exception else inspect.getdoc(cls) or ""
    retry = f"{answer.retry_after_s} s" if answer.retry_after_s else ""
    return f"| `{answer.code}` | {answer.status} | `{answer.type}` | {retry} | {_cell(meaning)} |\n"


def command_reference() -> str:
    """docs/cli.md, from the commands themselves."""
    root = typer.main.get_command(build_app())
    return (
        "# Commands\n\n"
        "<!-- Written by `make docs` from serving/cli; do not edit. -->\n\n"
        f"{root.help}\n\n"
        "Exit codes: 0 done; 1 refused, with the reason on stderr, or a file (`ingest`) or case (`eval`) failed; 2 "
        "wrong usage, or (`serve`) a configuration that is not valid; 3 the gateway cannot start or cannot be reached; "
        "4 it failed; 130 (`ingest`, `eval`) interrupted.\n"
        f"{''.join(_commands(root, 'loraplex'))}"
    )


def _commands(command: Any, path: str) -> Iterator[str]:
    if inner_commands := getattr(command, "commands", None):
        for name, inner in inner_commands.items():
            yield from _commands(inner, f"{path} {name}")
        return
    context = command.make_context(path, [], resilient_parsing=True)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"\n## `{path}`\n\n```\n{usage}\n```\n\n{inspect.cleandoc(command.help or '')}\n"
    rows = [row for parameter in command.get_params(context) if (row := _parameter_row(parameter, context))]
    if rows:
        yield "\n| argument | meaning |\n| --- | --- |\n" + "".join(rows)


def _parameter_row(parameter: Any, context: Any) -> str | None:
    record = parameter.get_help_record(context)
    if record is None or record[0].startswith("--help"):
        return None
    names, meaning = record
    return f"| `{_cell(names)}` | {_cell(meaning)} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": command_reference,
    "configuration.md": configuration_reference,
    "errors.md": errors_reference,
    "metrics.md": metrics_reference,
}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (_HERE / page).write_text(write(), encoding="utf-8")
    for name, text in chart_files().items():
        (_CHART / name).parent.mkdir(parents=True, exist_ok=True)
        (_CHART / name).write_text(text, encoding="utf-8")
