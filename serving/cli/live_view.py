"""What ``loraplex top`` looks like: a frame for a terminal of some width and height."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from serving.cli.live_frame import Change, Frame, Held, ReplicaRow, Row, sorted_rows
from serving.cli.printing import age, plain

_GAP = 2
"""Cells between two columns."""
_NOTHING = "-"
_FEW = 5
"""Replicas, rollouts or changes that are shown where the height is limited."""
_STATUS_STYLES = {"ready": "green", "loading": "yellow", "draining": "yellow", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table of versions."""

    title: str
    width: int
    """Most cells that it gets."""
    place: int
    """Of the order in which columns are left out where there is no room, the last first."""
    show: Callable[[Row], Text]
    left: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How a frame is to be shown."""

    sort: str = "traffic"
    paused: bool = False
    problem: str = ""
    """Why there is no newer frame; empty while there is."""
    keys: bool = False
    """Whether keys are listened to, and worth a line."""


def render_frame(frame: Frame, width: int, height: int | None = None, look: Look | None = None) -> RenderableType:
    """The frame in ``width`` cells and, where it is limited, ``height`` lines."""
    look = look or Look()
    head = _head(frame, look)
    # With a height, each part gets a few lines and the versions what is left.
    few = None if height is None else _FEW
    parts = [part for part in (_replicas(frame, few), _rollouts(frame, few), _changes(frame, few)) if part]
    notes = [_line(note, "dim") for note in frame.notes]
    foot = [_line("q quit · space pause · s sort", "dim")] if look.keys else []
    rest = len(head) + sum(len(part) + 1 for part in parts) + len(notes) + len(foot) + 3
    rows = sorted_rows(frame.rows, look.sort)
    shown = rows if height is None else rows[: max(3, height - rest)]
    body: list[RenderableType] = [*head, Text()]
    if shown:
        body.append(_versions(shown, width))
        if len(rows) > len(shown):
            body.append(_line(f"… and {len(rows) - len(shown)} more", "dim"))
    else:
        body.append(_line("No request yet.", "dim"))
    for part in parts:
        body += [Text(), *part]
    return Group(*body, *notes, *foot)


def render_waiting(url: str, problem: str) -> RenderableType:
    """The screen before the first frame."""
    said = _line(problem, "yellow") if problem else _line("Asking the gateway …")
    return Group(_line(f"loraplex top · {url}", "bold"), said)


def _head(frame: Frame, look: Look) -> list[Text]:
    moment = datetime.fromtimestamp(frame.at, UTC).astimezone().strftime("%H:%M:%S")
    title = _words(("loraplex top", "bold"), (f" · {plain(frame.url)} · {moment}", ""))
    if frame.ready is False:
        title.append(f" · not ready: {plain(frame.state)}", "bold red")
    warnings = []
    if look.problem:
        warnings.append(f"No newer frame: {look.problem} Trying again.")
    if frame.catalog_reachable is False:
        warnings.append("The catalog cannot be read: requests are served by its last known state.")
    if frame.silent_replicas:
        warnings.append(f"Replicas that do not answer the scrape: {frame.silent_replicas}.")
    if frame.observer_up is False:
        warnings.append("The observer is down: drift and quality stand still.")
    facts = _line(" · ".join(_facts(frame, look)), "dim")
    return [title, facts, *(_line(warning, "bold yellow") for warning in warnings)]


def _facts(frame: Frame, look: Look) -> list[str]:
    ready = sum(bool(replica.ready) for replica in frame.replicas)
    replicas = f"{len(frame.replicas)} replicas"
    if any(replica.ready is not None for replica in frame.replicas):
        replicas = f"{ready}/{len(frame.replicas)} replicas ready"
    facts = [replicas, f"{frame.in_flight} in flight, {frame.waiting} waiting"]
    if frame.revision is not None:
        facts.append(f"revision {frame.revision}")
    facts.append("one scrape: no rates yet" if frame.window_s is None else f"over {frame.window_s:.0f} s")
    facts.append(f"by {look.sort}")
    return [*facts, "PAUSED"] if look.paused else facts


def _versions(rows: Sequence[Row], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    cells = {column.title: [column.show(row) for row in rows] for column in _COLUMNS}
    chosen = _fitting(cells, width)
    for column, cells_wide in chosen:
        table.add_column(
            column.title,
            width=cells_wide,
            no_wrap=True,
            overflow="ellipsis",
            justify="left" if column.left else "right",
        )
    for place in range(len(rows)):
        table.add_row(*(cells[column.title][place] for column, _ in chosen))
    return table


def _fitting(cells: dict[str, list[Text]], width: int) -> list[tuple[_Column, int]]:
    """The columns that there is room for, in their order, each with its width."""
    room = width + _GAP
    found: list[tuple[_Column, int]] = []
    for column in sorted(_COLUMNS, key=lambda column: column.place):
        wide = max(len(column.title), *(cell.cell_len for cell in cells[column.title]))
        needed = min(wide, column.width) + _GAP
        if needed > room and found:
            continue
        found.append((column, max(1, min(needed, room) - _GAP)))
        room -= needed
    return sorted(found, key=lambda pair: _COLUMNS.index(pair[0]))


def _replicas(frame: Frame, most: int | None) -> list[Text]:
    if not frame.replicas:
        return [_line("No replica is live.", "dim")]
    return _most([_replica(replica) for replica in frame.replicas], most)


def _replica(replica: ReplicaRow) -> Text:
    style = "" if replica.ready is None else "green" if replica.ready else "bold red"
    line = _words((plain(replica.replica), style))
    if replica.ready is False:
        line.append(" not ready", "bold red")
    if not replica.held:
        line.append("  holds no adapter", "dim")
    for held in sorted(replica.held, key=lambda held: -held.in_flight):
        line.append("  ")
        line.append_text(_held(held))
    return line


def _held(held: Held) -> Text:
    where = held.tier if held.status == "ready" else f"{held.status} {held.tier}"
    pinned = ", pinned" if held.pinned else ""
    busy = f", {held.in_flight} in flight" if held.in_flight else ""
    return Text.assemble((plain(held.version), _STATUS_STYLES.get(held.status, "")), (f" {where}{busy}{pinned}", "dim"))


def _rollouts(frame: Frame, most: int | None) -> list[Text]:
    lines = []
    for rollout in frame.rollouts:
        share = f", {rollout.share:.0%} of callers" if rollout.share else ""
        lines.append(_line(f"rollout of {rollout.alias}: {rollout.candidate} {rollout.phase.replace('_', ' ')}{share}"))
    return _most(lines, most)


def _changes(frame: Frame, most: int | None) -> list[Text]:
    return _most([_change(change) for change in frame.changes], most)


def _change(change: Change) -> Text:
    what = " ".join(f"{change.who} {change.what} {change.version or change.alias}".split())
    why = " ".join(change.why.split())
    return _words((f"{age(change.at)} ago  ", "dim"), (plain(what), ""), (plain(f"  {why}" if why else ""), "dim"))


def _most(lines: list[Text], most: int | None) -> list[Text]:
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], _line(f"… and {len(lines) - most + 1} more", "dim")]


def _words(*parts: tuple[str, str]) -> Text:
    """Texts with their styles on one line, cut off where the terminal ends."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _line(text: str, style: str = "") -> Text:
    """One line, cut off where the terminal ends."""
    return Text(plain(" ".join(text.split())), style, no_wrap=True, overflow="ellipsis")


def _name(text: str) -> Text:
    return _line(text)


def _number(value: float | None, form: str) -> Text:
    return Text(_NOTHING, "dim") if value is None else Text(form.format(value))


def _seconds(value: float | None) -> Text:
    if value is None:
        return Text(_NOTHING, "dim")
    return Text(f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s")


def _errors(row: Row) -> Text:
    if row.error_share is None:
        return Text(_NOTHING, "dim")
    style = "bold red" if row.error_share >= 0.01 else "yellow" if row.error_share else ""
    return Text(f"{row.error_share:.1%}", style)


def _drift(row: Row) -> Text:
    if row.drift is None:
        return Text(_NOTHING, "dim")
    return Text(plain(", ".join(row.drift)), "bold yellow") if row.drift else Text("none", "green")


_COLUMNS = (
    _Column("Task", 24, 0, lambda row: _name(row.task), left=True),
    _Column("Version", 32, 4, lambda row: _name(row.adapter), left=True),
    _Column("Role", 8, 8, lambda row: _name(row.role), left=True),
    _Column("req/s", 8, 1, lambda row: _number(row.requests_per_s, "{:.1f}")),
    _Column("Errors", 7, 3, _errors),
    _Column("TTFT p50", 8, 5, lambda row: _seconds(row.ttft_p50_s)),
    _Column("TTFT p95", 8, 2, lambda row: _seconds(row.ttft_p95_s)),
    _Column("E2E p95", 8, 9, lambda row: _seconds(row.duration_p95_s)),
    _Column("tok/s", 8, 10, lambda row: _number(row.tokens_per_s, "{:.0f}")),
    _Column("Quality", 7, 6, lambda row: _number(row.quality, "{:.2f}")),
    _Column("Drift", 36, 7, _drift, left=True),
)
