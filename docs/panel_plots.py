"""Draws a dashboard as Grafana lays it out, from what a Prometheus says of its queries.

Places, colours, thresholds, units and names are the dashboard's; it is a drawing all the same, and no Grafana.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monitoring.dashboards.grafana import Dashboard, Panel, Target, Unit
from serving.cli.prometheus import Series

_WIDTH = 16.0
_COLUMNS = 24
_LINE = 0.34
_HEAD = 0.6
_GAP = 0.06
"""All in inches."""
_DPI = 80
_COLORS = {"green": "#4a9a54", "yellow": "#d9a514", "orange": "#e8701a", "red": "#d0343f", "blue": "#3274d9"}
_PALETTE = ("#4a9a54", "#d9a514", "#3274d9", "#e8701a", "#d0343f", "#8f3bb8", "#3b8f8f", "#7a6a53")
_INK, _QUIET, _FRAME, _PAPER = "#24292e", "#6b7480", "#d8d9da", "#ffffff"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _FRAME,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "grid.color": "#eceded",
    "legend.frameon": False,
}
_MOST_LINES = 12
_PLACE = re.compile(r"\{\{\w+\}\}")
"""Of a label in a legend that the series has not."""
_MOST_NAMES = 8
_LONGEST_NAME = 34


@dataclass(frozen=True, slots=True)
class Found:
    """What one query found."""

    target: Target
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class _Box:
    """A place on the page, in inches from its upper left corner."""

    left: float
    top: float
    width: float
    height: float


def draw_page(board: Dashboard, found: Mapping[int, Sequence[Found]], start: float, end: float) -> bytes:
    """The page as PNG.

    Args:
        found: by the number that a panel has in the dashboard's JSON.
        start: where the axes of time begin, in Unix seconds.
        end: where they end.
    """
    placed = board.to_json()["panels"]
    lines = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in placed)
    panels = board.panels()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEAD + lines * _LINE + _GAP), facecolor="#f4f5f5")
        FigureCanvasAgg(figure)
        _text(figure, _Box(_GAP * 2, 0, _WIDTH, _HEAD), board.title, fontsize=15, fontweight="bold")
        for one in placed:
            box = _box(one["gridPos"])
            if one["type"] == "row":
                _text(figure, box, one["title"], fontsize=10, fontweight="bold")
            else:
                _draw_panel(figure, box, next(panels), found[one["id"]], (start, end))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def shown(value: float, unit: Unit) -> str:
    """A value with its unit, for people."""
    match unit:
        case "s":
            return _seconds(value)
        case "percentunit":
            return f"{_short(100 * value)} %"
        case "percent":
            return f"{_short(value)} %"
        case "reqps" | "cps":
            return f"{_short(value)}/s"
        case "bytes" | "mbytes":
            return _bytes(value * (1 if unit == "bytes" else 2**20))
        case "celsius":
            return f"{value:.3g} °C"
        case "watt":
            return f"{value:.3g} W"
        case _:
            return f"{value:.4g}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _seconds(value: float) -> str:
    size = abs(value)
    if size < 1:
        return f"{1000 * value:.3g} ms"
    for length, word in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if size >= 2 * length:
            return f"{value / length:.3g} {word}"
    return f"{value:.3g} s"


def _bytes(value: float) -> str:
    for word in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.3g} {word}"
        value /= 1024
    return f"{value:.3g} TiB"


def _box(place: Mapping[str, int]) -> _Box:
    column = (_WIDTH - 2 * _GAP) / _COLUMNS
    return _Box(_GAP + place["x"] * column, _HEAD + place["y"] * _LINE, place["w"] * column, place["h"] * _LINE)


def _axes(figure: Figure, box: _Box, **options: Any) -> Any:
    high = figure.get_figheight()
    return figure.add_axes(
        (box.left / _WIDTH, 1 - (box.top + box.height) / high, box.width / _WIDTH, box.height / high), **options
    )


def _text(figure: Figure, box: _Box, text: str, **options: Any) -> None:
    high = figure.get_figheight()
    figure.text((box.left + _GAP) / _WIDTH, 1 - (box.top + box.height / 2) / high, text, va="center", **options)


def _draw_panel(figure: Figure, box: _Box, panel: Panel, found: Sequence[Found], span: tuple[float, float]) -> None:
    frame = _Box(box.left + _GAP / 2, box.top + _GAP / 2, box.width - _GAP, box.height - _GAP)
    _axes(figure, frame, xticks=(), yticks=(), facecolor=_PAPER).spines[:].set_visible(True)
    _text(figure, _Box(frame.left + _GAP, frame.top, frame.width, 0.3), panel.title, fontsize=8.5)
    named = [(_name(one.target, series), series) for one in found for series in one.series]
    inside = _Box(frame.left, frame.top + 0.3, frame.width, frame.height - 0.3)
    if not named:
        _alone(figure, inside, "No data", _QUIET, 9)
    elif panel.kind == "stat":
        value = named[0][1].last
        _alone(figure, inside, shown(value, panel.unit), _color(panel, value), 19)
    elif panel.kind == "bargauge":
        _draw_bars(figure, inside, panel, named)
    else:
        _draw_lines(figure, inside, panel, named, span)


def _alone(figure: Figure, box: _Box, text: str, color: str, size: float) -> None:
    axes = _axes(figure, box)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=size, color=color)


def _draw_bars(figure: Figure, box: _Box, panel: Panel, named: Sequence[tuple[str, Series]]) -> None:
    names = [name for name, _ in named[:_MOST_LINES]]
    values = [series.last for _, series in named[:_MOST_LINES]]
    label, value_room = min(2.4, box.width * 0.42), 0.75
    axes = _axes(figure, _Box(box.left + label, box.top, max(box.width - label - value_room, 0.5), box.height - 0.1))
    longest = panel.high or max([*values, 1e-9])
    places = range(len(values))
    axes.barh(places, [longest] * len(values), height=0.62, color="#eceded")
    axes.barh(places, [min(value, longest) for value in values], height=0.62, color=[_color(panel, v) for v in values])
    for place, value in enumerate(values):
        axes.text(longest * 1.02, place, shown(value, panel.unit), va="center", color=_color(panel, value))
    axes.set_yticks(places, names)
    axes.set_xticks(())
    axes.set_xlim(0, longest)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_lines(
    figure: Figure, box: _Box, panel: Panel, named: Sequence[tuple[str, Series]], span: tuple[float, float]
) -> None:
    axes = _axes(figure, _Box(box.left + 0.72, box.top + 0.05, box.width - 0.85, box.height - 0.85))
    start, end = span
    drawn = named[:_MOST_LINES]
    if panel.stacked:
        moments, layers = _layers([series for _, series in drawn], start)
        artists = axes.stackplot(moments, *layers, colors=_PALETTE, alpha=0.45)
    else:
        artists = [
            axes.plot(
                [(at - start) / 60 for at, _ in series.points],
                [value for _, value in series.points],
                color=_PALETTE[place % len(_PALETTE)],
                linewidth=1.1,
                marker="." if len(series.points) == 1 else None,
            )[0]
            for place, (_, series) in enumerate(drawn)
        ]
    axes.set_xlim(0, (end - start) / 60)
    lowest = min(value for _, series in drawn for _, value in series.points)
    axes.set_ylim(*_limits(panel, lowest, axes.get_ylim()))
    for step in panel.thresholds:
        axes.axhline(step.value, color=_COLORS[step.color], linestyle="--", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
    axes.grid(linewidth=0.5)
    axes.set_axisbelow(True)
    names = [name for name, _ in drawn]
    left = f"… {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else ""
    shown_names = [*names[: _MOST_NAMES - bool(left)], *([left] if left else [])]
    axes.legend(
        artists[: len(shown_names)],
        shown_names,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.14),
        ncols=3 if box.width > 7 else 2,
        fontsize=6,
        handlelength=1.2,
    )


def _layers(every: Sequence[Series], start: float) -> tuple[list[float], list[list[float]]]:
    """Minutes, and at each of them the height of each layer: 0 where a series has none."""
    points = [dict(series.points) for series in every]
    moments = sorted({at for one in points for at in one})
    return [(at - start) / 60 for at in moments], [[one.get(at, 0.0) for at in moments] for one in points]


def _limits(panel: Panel, lowest: float, chosen: tuple[float, float]) -> tuple[float, float]:
    """Where the axis of values begins and ends; ``chosen``: by the values alone."""
    low, high = chosen
    if panel.low is not None and lowest >= panel.low:
        low = panel.low
    if panel.high is not None:
        high = panel.high
    return low, high if high > low else low + 1


def _color(panel: Panel, value: float) -> str:
    reached = [step.color for step in panel.thresholds if value >= step.value]
    return _COLORS[reached[-1] if reached else panel.below]


def _name(target: Target, series: Series) -> str:
    name = target.legend
    for label, value in series.labels.items():
        name = name.replace("{{" + label + "}}", value)
    name = _PLACE.sub("", name)
    if not name.strip():
        name = ", ".join(f"{label}={value}" for label, value in series.labels.items()) or "value"
    # A name that begins with an underscore is left out of a legend.
    name = " ".join(name.split()).lstrip("_")
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
