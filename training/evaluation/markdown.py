"""A run's summary as Markdown: for pull requests and job summaries."""

import html
import re
from collections.abc import Iterator, Sequence

from training.evaluation.summary import ClassificationSummary, MetricSummary, Summary

_SIGNS = re.compile(r"([\\`*_{}\[\]#|~!])")
_MOST = 160


def render_markdown(summary: Summary) -> str:
    """The whole page."""
    return (
        "\n".join([*_head(summary), *_metrics(summary), *_labels(summary), *_notes(summary), *_worst(summary)]) + "\n"
    )


def escaped(text: str, most: int = _MOST) -> str:
    """Text that others chose, in one line, as Markdown that shows it and does nothing else."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return _SIGNS.sub(r"\\\1", html.escape(line, quote=False))


def _head(summary: Summary) -> Iterator[str]:
    repeats = f", {summary.repeats} repeats" if summary.repeats > 1 else ""
    yield f"# {escaped(summary.suite)}: {escaped(summary.model)}"
    yield ""
    version = escaped(summary.version or "not told, or several")
    yield f"{summary.cases} cases{repeats} · version {version} · suite `{summary.suite_digest[:12]}`"
    yield ""


def _metrics(summary: Summary) -> Iterator[str]:
    yield from _row("metric", "mean", "95 % interval", "standard error", "cases")
    yield from _row("---", "---:", "---", "---:", "---:")
    for metric in summary.metrics:
        yield from _row(_name(metric, summary.primary), *metric_cells(metric))
    for name, value, interval in extra_rows(summary):
        yield from _row(escaped(name), value, interval, "", "")
    yield ""
    if summary.slices:
        yield from _row(f"{escaped(summary.primary)} by tag", "mean", "95 % interval", "standard error", "cases")
        yield from _row("---", "---:", "---", "---:", "---:")
        for tag, metric in summary.slices.items():
            yield from _row(escaped(tag), *metric_cells(metric))
        yield ""


def extra_rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of what belongs to no single case: macro-F1, and the baseline's scores."""
    for one in summary.classifications:
        span = one.macro_f1_interval
        yield f"{one.prefix}macro_f1", f"{one.macro_f1:.3f}", f"{span.low:.3f} to {span.high:.3f}"
    if summary.baseline is not None:
        found = summary.baseline
        span_of = found["interval"]
        yield "baseline: accuracy", f"{found['accuracy']:.3f}", f"{span_of['low']:.3f} to {span_of['high']:.3f}"
        yield "baseline: macro_f1", f"{found['macro_f1']:.3f}", ""


def metric_cells(metric: MetricSummary) -> tuple[str, str, str, str]:
    """Mean, interval, standard error and cases."""
    interval = f"{metric.interval.low:.3f} to {metric.interval.high:.3f}"
    return f"{metric.mean:.3f}", interval, f"{metric.standard_error:.3f}", str(metric.cases)


def _labels(summary: Summary) -> Iterator[str]:
    for one in summary.classifications:
        yield f"## {escaped(one.prefix)}Labels"
        yield ""
        yield from _row("label", "answers", "precision", "recall", "F1")
        yield from _row("---", "---:", "---:", "---:", "---:")
        for label in one.per_label:
            shares = (f"{value:.3f}" for value in (label.precision, label.recall, label.f1))
            yield from _row(escaped(label.label), str(label.support), *shares)
        yield ""
        yield from _confused(one)


def _confused(one: ClassificationSummary) -> Iterator[str]:
    if one.confused:
        yield from _row("wanted", "said", "answers")
        yield from _row("---", "---", "---:")
        for wanted, said, count in one.confused:
            yield from _row(escaped(wanted), "*no label*" if said is None else escaped(said), str(count))
        yield ""


def notes(summary: Summary) -> Iterator[str]:
    """What a reader should know besides the numbers, a sentence each, as plain text."""
    for one in summary.classifications:
        if one.outside:
            yield f"{one.prefix}classification: {one.outside} answers are none of the labels; they count as wrong."
    for metric in summary.metrics:
        if metric.missing:
            yield f"{metric.name}: {metric.missing} answers have no verdict and are left out."
        if metric.name == summary.primary and metric.noise is not None:
            yield (
                f"Repeats agree on {metric.name} for {metric.noise.agreement:.1%} of the cases; standard error "
                f"{metric.noise.se_cases:.4f} over cases, of which {metric.noise.se_repeats:.4f} is noise of repeats."
            )
    if summary.same_text is not None:
        yield f"Repeats are the same text for {summary.same_text:.1%} of the cases."
    if summary.baseline is not None:
        found = summary.baseline
        told = f"; {found['overlap']} cases stand among them word for word" if found["overlap"] else ""
        yield f"Baseline: {found['method']}, from {found['rows']} rows{told}."
    if summary.judging is not None:
        found = summary.judging
        yield (
            f"Judge: {found['verdicts']} verdicts, {found['unreadable_replies']} replies could not be read, "
            f"{found['without_verdict']} without verdict, {found['contradictions']} contradictions between orders."
        )
    for reason, count in summary.errors.items():
        yield f"{count} answers are missing and score 0: {reason}"


def _notes(summary: Summary) -> Iterator[str]:
    told = [f"- {escaped(one, 400)}" for one in notes(summary)]
    yield from [*told, ""] if told else []


def _worst(summary: Summary) -> Iterator[str]:
    if not summary.worst:
        return
    yield "## Worst cases"
    yield ""
    yield from _row("case", "line", escaped(summary.primary), "asked", "wanted", "answer")
    yield from _row("---", "---:", "---:", "---", "---", "---")
    for one in summary.worst:
        texts = (one.question, one.expected or "", one.answer)
        yield from _row(escaped(one.case_id), str(one.line), f"{one.value:.2f}", *map(escaped, texts))
    yield ""


def _name(metric: MetricSummary, primary: str) -> str:
    return f"**{escaped(metric.name)}**" if metric.name == primary else escaped(metric.name)


def _row(*cells: str) -> Sequence[str]:
    return [f"| {' | '.join(cells)} |"]
