"""The page that ``loraplex report`` writes: one document of :mod:`training.reports`, with plots."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from serving.cli.printing import plain
from serving.cli.prometheus import Series
from serving.cli.report_data import Event, Findings
from training.reports.document import Block, Callout, Figure, Section, Table, Text
from training.reports.page import render_page
from training.reports.plots import Interval, Line, Mark, bars, intervals, timeline

_MOST_LINES = 8
_MOST_TASKS = 12
_MOST_EVENTS = 100
_MOST_MARKS = 25
_LONGEST_LABEL = 48
_SHIFTS = ("promote", "rollback", "canary", "end-canary")
"""Changes of which version answers callers: the others are no marks."""
_TONES = {
    "ok": "good",
    "contract_violated": "unsure",
    "client_error": "quiet",
    "cancelled": "quiet",
    "overloaded": "bad",
    "unavailable": "bad",
    "timeout": "bad",
    "server_error": "bad",
}
_DAY_S = 86400.0
_NOTHING = "–"

Numbered = Sequence[tuple[int, Event]]


def report_html(found: Findings) -> str:
    """The page. Names and reasons in it are escaped."""
    events = list(enumerate(found.events, 1))[-_MOST_EVENTS:]
    sections = [
        Section("", _introduction(found)),
        Section("Requests and errors", _requests(found, events)),
        Section("Latency", _latency(found, events)),
        Section("Adapter changes", _changes(found, events)),
        Section("Drift", _drift(found)),
        Section("Output quality", _quality(found, events)),
        Section("Retrieval", _retrieval(found)),
    ]
    return render_page(f"Loraplex: the last {_length(found.span.end - found.span.start)}", sections)


def _introduction(found: Findings) -> list[Block]:
    span = found.span
    blocks: list[Block] = [Text(f"{_moment(span.start)} to {_moment(span.end)}, from {found.source}.")]
    if found.over_time:
        blocks.append(
            Text(
                f"Each point of a line is over the {_length(span.window_s)} before it, every {_length(span.step_s)}. "
                "Totals are what Prometheus makes of its scrapes: they need not be whole."
            )
        )
    else:
        blocks.append(
            Callout(
                "Without a Prometheus there are no lines over time",
                "A gateway knows its totals since its replicas started, whatever time this page is about, and the "
                "history of its adapters. Replicas that ended took their counts with them. With --prometheus URL this "
                "page shows how things went.",
                "unsure",
            )
        )
    blocks += [Callout(note, tone="unsure") for note in found.notes]
    requests = sum(sum(counts.values()) for counts in found.outcomes.values())
    failed = sum(row.failed for row in found.totals if row.role != "shadow")
    share = f"{failed / requests:.2%}" if requests else _NOTHING
    rows = [
        ("requests", _count(requests)),
        ("failed", f"{_count(failed)} ({share})"),
        ("generated tokens", _count(sum(row.tokens for row in found.totals if row.role != "shadow"))),
        ("tasks", str(len(found.outcomes))),
        ("changes of adapters", str(len(found.events))),
    ]
    return [*blocks, Table(("", ""), rows, numeric=frozenset({1}))]


def _requests(found: Findings, events: Numbered) -> list[Block]:
    if not found.totals:
        return [Text("No request was answered.")]
    blocks: list[Block] = []
    if found.over_time:
        marks = _marks(events)
        blocks += _figure(found, "requests", ("task",), "requests a second", "Requests a second, by task.", marks)
        caption = "Share of requests that failed (overloaded, unavailable, timeout or server_error), in percent."
        blocks += _figure(found, "errors", ("task",), "percent", caption, marks, scale=100.0)
    shown = dict(sorted(found.outcomes.items(), key=lambda pair: -sum(pair[1].values()))[:_MOST_TASKS])
    if shown:
        rows = {_label(task): counts for task, counts in shown.items()}
        blocks.append(Figure(bars(rows, label="requests", tones=_TONES), "Outcomes of requests, by task; no shadows."))
    headers = ("Task", "Version", "Role", "Requests", "Failed", "Tokens")
    rows_of_totals = [
        (row.task, row.adapter, row.role, _count(row.requests), _share(row.failed, row.requests), _count(row.tokens))
        for row in found.totals
    ]
    return [*blocks, Table(headers, rows_of_totals, numeric=frozenset({3, 4, 5}))]


def _latency(found: Findings, events: Numbered) -> list[Block]:
    if not found.totals:
        return [Text("No request was answered.")]
    blocks: list[Block] = []
    if found.over_time:
        tasks = _busiest(found)
        for task in tasks[:_MOST_TASKS]:
            adapters = {row.adapter for row in found.totals if row.task == task}
            marks = _marks(events, {adapter.partition("@")[0] for adapter in adapters})
            for name, words in (("ttft", "Time to first token"), ("duration", "Time to the end of the answer")):
                blocks += _quantiles(found, name, task, words, marks)
        if len(tasks) > _MOST_TASKS:
            blocks.append(Text(f"The {_MOST_TASKS} busiest of {len(tasks)} tasks."))
    else:
        blocks += _whiskers(found)
    headers = ("Task", "Version", "Role", "TTFT p50", "TTFT p95", "E2E p50", "E2E p95")
    rows = [
        (
            *(row.task, row.adapter, row.role),
            *map(_seconds, (row.ttft_p50_s, row.ttft_p95_s, row.duration_p50_s, row.duration_p95_s)),
        )
        for row in found.totals
    ]
    caption = "TTFT: to the first token of a streamed answer; E2E: to the end of any answer."
    return [*blocks, Table(headers, rows, numeric=frozenset({3, 4, 5, 6}), caption=caption)]


def _quantiles(found: Findings, name: str, task: str, words: str, marks: Sequence[Mark]) -> list[Block]:
    """Median and 95th percentile of one task, by version."""
    lines: list[Line] = []
    upper = _of_task(found.lines.get(f"{name}_p95", ()), task)
    lower = {series.labels.get("adapter", ""): series for series in _of_task(found.lines.get(f"{name}_p50", ()), task)}
    for colour, series in enumerate(upper[: _MOST_LINES // 2]):
        adapter = series.labels.get("adapter", "")
        lines.append(Line(_label(f"{adapter} p95"), series.points, colour))
        if adapter in lower:
            lines.append(Line(_label(f"{adapter} p50"), lower[adapter].points, colour, dashed=True))
    if not lines:
        return []
    left = f" The {_MOST_LINES // 2} busiest of {len(upper)} versions." if len(upper) > _MOST_LINES // 2 else ""
    return [Figure(_timeline(found, lines, "seconds", marks), f"{words}, task {plain(task)}.{left}{_told(marks)}")]


def _whiskers(found: Findings) -> list[Block]:
    """Medians and 95th percentiles without time."""
    rows = [
        Interval(_label(f"{row.task} · {row.adapter}"), row.ttft_p50_s, row.ttft_p50_s, row.ttft_p95_s)
        for row in found.totals
        if row.ttft_p50_s is not None and row.ttft_p95_s is not None and row.role != "shadow"
    ][: 2 * _MOST_TASKS]
    if not rows:
        return []
    caption = "Time to first token: the dot is the median, the line goes to the 95th percentile."
    return [Figure(intervals(rows, label="seconds"), caption)]


def _changes(found: Findings, events: Numbered) -> list[Block]:
    if not events:
        return [Text("Nothing was changed in this time.")]
    left = f"The newest {len(events)} of {len(found.events)}." if len(found.events) > len(events) else ""
    rows = [
        (str(number), _moment(event.at), event.who, event.what, event.alias, event.version, event.why)
        for number, event in reversed(events)
    ]
    headers = ("No.", "When", "Who", "What", "Adapter", "Version", "Why")
    return [Table(headers, rows, numeric=frozenset({0}), caption=left)]


def _drift(found: Findings) -> list[Block]:
    if not found.drift:
        return [Text("There are no drift metrics: this gateway does not look for drift, or has not yet.")]
    blocks: list[Block] = []
    detected = sorted({row.task for row in found.drift if row.detected > 0})
    if detected:
        blocks.append(Callout("Drift was detected", f"Tasks: {', '.join(detected)}.", "bad"))
    else:
        blocks.append(Callout("No drift was detected", tone="good"))
    if found.over_time:
        caption = "Size of the difference between live and reference window, by task and signal."
        blocks += _figure(found, "drift", ("task", "signal"), "effect", caption, ())
    headers = ("Task", "Signal", "Effect", "p-value", "Detected")
    rows = [
        (row.task, row.signal, _number(row.effect, ".3f"), _number(row.p_value, ".2g"), _detected(found, row.detected))
        for row in found.drift
    ]
    return [*blocks, Table(headers, rows, numeric=frozenset({2, 3, 4}))]


def _quality(found: Findings, events: Numbered) -> list[Block]:
    if not found.parts and all(row.quality is None for row in found.totals):
        return [Text("There are no metrics of output quality: this gateway scores no answers, or has not yet.")]
    blocks: list[Block] = []
    if found.over_time:
        caption = "Output quality, 1 is good, by task and version."
        blocks += _figure(found, "quality", ("task", "adapter"), "score", caption, _marks(events), most=1.0)
    scores = {(row.task, row.adapter): row.quality for row in found.totals if row.quality is not None}
    rows = [(task, adapter, "whole", _number(score, ".3f")) for (task, adapter), score in scores.items()]
    rows += [(key[0], key[1], key[2], _number(value, ".3f")) for key, value in found.parts.items()]
    return [*blocks, Table(("Task", "Version", "Part", "Score"), sorted(rows), numeric=frozenset({3}))]


def _retrieval(found: Findings) -> list[Block]:
    if not found.retrievals:
        return [Text("No request looked for passages.")]
    blocks: list[Block] = []
    tasks = sorted(found.lines.get("age_p95", ()), key=lambda series: -series.last)[: _MOST_LINES // 2]
    if tasks:
        medians = {series.labels.get("task", ""): series for series in found.lines.get("age_p50", ())}
        lines: list[Line] = []
        for colour, series in enumerate(tasks):
            task = series.labels.get("task", "")
            lines.append(Line(_label(f"{task} p95"), _scaled(series, 1 / _DAY_S), colour))
            if task in medians:
                lines.append(Line(_label(f"{task} p50"), _scaled(medians[task], 1 / _DAY_S), colour, dashed=True))
        blocks.append(Figure(_timeline(found, lines, "days", ()), "Freshness: age of the passages that were given."))
    outcomes = sorted({outcome for counts in found.retrievals.values() for outcome in counts})
    rows = [
        (
            task,
            *(_count(counts.get(outcome, 0.0)) for outcome in outcomes),
            *map(_days, found.ages_s.get(task, (None, None))),
        )
        for task, counts in sorted(found.retrievals.items())
    ]
    headers = ("Task", *outcomes, "Age p50", "Age p95")
    return [*blocks, Table(headers, rows, numeric=frozenset(range(1, len(headers))))]


def _figure(
    found: Findings,
    name: str,
    by: Sequence[str],
    label: str,
    caption: str,
    marks: Sequence[Mark],
    *,
    scale: float = 1.0,
    most: float | None = None,
) -> list[Block]:
    """The lines of one name; nothing where there are none."""
    every = sorted(found.lines.get(name, ()), key=lambda series: -sum(value for _, value in series.points))
    lines = [
        Line(_label(" · ".join(series.labels.get(part, "") for part in by)), _scaled(series, scale))
        for series in every[:_MOST_LINES]
    ]
    if not lines:
        return []
    left = f" The {_MOST_LINES} largest of {len(every)}." if len(every) > _MOST_LINES else ""
    return [Figure(_timeline(found, lines, label, marks, most=most), f"{caption}{left}{_told(marks)}")]


def _timeline(
    found: Findings, lines: Sequence[Line], label: str, marks: Sequence[Mark], *, most: float | None = None
) -> str:
    span = found.span
    gap_s = span.step_s * 1.5
    return timeline(lines, label=label, start=span.start, end=span.end, marks=marks, gap_s=gap_s, most=most)


def _marks(events: Numbered, aliases: Iterable[str] | None = None) -> list[Mark]:
    """The shifts among the events, of some aliases or of all, by their numbers."""
    wanted = None if aliases is None else set(aliases)
    shifts = [
        Mark(event.at, str(number))
        for number, event in events
        if event.what in _SHIFTS and (wanted is None or event.alias in wanted)
    ]
    return shifts[-_MOST_MARKS:]


def _told(marks: Sequence[Mark]) -> str:
    return " Upright lines are adapter changes, by their numbers below." if marks else ""


def _busiest(found: Findings) -> list[str]:
    return sorted(found.outcomes, key=lambda task: (-sum(found.outcomes[task].values()), task))


def _of_task(every: Iterable[Series], task: str) -> list[Series]:
    """The series of a task, those with the most points first."""
    mine = [series for series in every if series.labels.get("task") == task]
    return sorted(mine, key=lambda series: (-len(series.points), series.labels.get("adapter", "")))


def _scaled(series: Series, factor: float) -> list[tuple[float, float]]:
    return [(at, value * factor) for at, value in series.points]


def _label(text: str) -> str:
    line = " ".join(plain(text).split()) or _NOTHING
    return line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"


def _detected(found: Findings, share: float) -> str:
    if not found.over_time:
        return "yes" if share else "no"
    return f"{share:.0%} of the time"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _length(seconds: float) -> str:
    for unit, length in (("d", _DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else _NOTHING


def _number(value: float | None, form: str) -> str:
    return _NOTHING if value is None else format(value, form)


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f} s"


def _days(seconds: float | None) -> str:
    return _NOTHING if seconds is None else f"{seconds / _DAY_S:.1f} d"
