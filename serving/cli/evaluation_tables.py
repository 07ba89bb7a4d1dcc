"""What ``loraplex eval`` prints for people."""

from collections.abc import Sequence

from serving.cli.printing import cell, console, new_table, say
from training.evaluation.markdown import extra_rows, metric_cells, notes
from training.evaluation.summary import ClassificationSummary, MetricSummary, Summary

_SHORT = 60


def print_summary(summary: Summary) -> None:
    """Metrics, labels that go wrong, slices, the worst cases."""
    say(f"{summary.suite}: {summary.model}", style="bold")
    repeats = f", {summary.repeats} repeats" if summary.repeats > 1 else ""
    said = summary.version or "not told, or several"
    say(f"  {summary.cases} cases{repeats} · version {said} · suite {summary.suite_digest[:12]}", style="dim")
    _print_metrics(summary)
    for one in summary.classifications:
        _print_confused(one)
    if summary.slices:
        _print_metric_table(f"{summary.primary} by tag", list(summary.slices.items()), "")
    for note in notes(summary):
        say(f"note: {note}", style="yellow")
    _print_worst(summary)


def _print_metrics(summary: Summary) -> None:
    rows = [(metric.name, metric) for metric in summary.metrics]
    _print_metric_table("Metric", rows, summary.primary, list(extra_rows(summary)))


def _print_metric_table(
    head: str, rows: Sequence[tuple[str, MetricSummary]], bold: str, extra: Sequence[tuple[str, str, str]] = ()
) -> None:
    table = new_table(head, "Mean", "95 % interval", "Std. error", "Cases")
    for name, metric in rows:
        table.add_row(f"[bold]{cell(name)}[/]" if name == bold else cell(name), *metric_cells(metric))
    for cells in extra:
        table.add_row(*map(cell, cells))
    console().print(table)


def _print_confused(one: ClassificationSummary) -> None:
    if not one.confused:
        return
    table = new_table("Wanted", "Said", "Answers")
    for wanted, said, count in one.confused:
        table.add_row(cell(wanted), "[italic]no label[/]" if said is None else cell(said), str(count))
    console().print(table)


def _print_worst(summary: Summary) -> None:
    if not summary.worst:
        return
    table = new_table("Worst case", "Line", summary.primary, "Asked", "Wanted", "Answer")
    for one in summary.worst:
        texts = (cell(_short(text)) for text in (one.question, one.expected or "", one.answer))
        table.add_row(cell(one.case_id), str(one.line), f"{one.value:.2f}", *texts)
    console().print(table)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"
