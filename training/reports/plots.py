"""Plots as inline SVG: the same data give the same bytes, and colours follow the page that they stand on."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Drawn in these colours, and handed out as the page's variables, so that light and dark need one picture.
_INK, _QUIET, _LINE, _ACCENT, _GOOD, _BAD, _UNSURE = (f"#0100{number:02x}" for number in range(7))
_VARIABLES = {
    _INK: "ink",
    _QUIET: "quiet",
    _LINE: "line",
    _ACCENT: "accent",
    _GOOD: "good",
    _BAD: "bad",
    _UNSURE: "unsure",
}
_TONES = {"good": _GOOD, "bad": _BAD, "unsure": _UNSURE, "plain": _ACCENT, "quiet": _QUIET}
_SERIES = (_ACCENT, _UNSURE, _GOOD, _BAD, _QUIET, _INK)
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "loraplex",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _QUIET,
    "axes.edgecolor": _LINE,
    "xtick.color": _QUIET,
    "ytick.color": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "xtick.labelcolor": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "legend.frameon": False,
}
_WIDTH = 7.4
_ROW = 0.42
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A line of an interval plot."""

    label: str
    mean: float
    lower: float
    upper: float
    tone: str = "plain"
    """``good``, ``bad``, ``unsure``, ``plain`` or ``quiet``."""
    mark: float | None = None
    """A threshold of this line's own."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a timeline."""

    label: str
    points: Sequence[tuple[float, float]]
    """Moments in Unix seconds, growing, and values."""
    colour: int | None = None
    """Lines of one number have one colour; None: the next one in turn."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, on a timeline."""

    at: float
    """Unix seconds."""
    label: str
    """A number or a few letters."""


def intervals(rows: Sequence[Interval], *, label: str, zero: bool = False) -> str:
    """Dots with whiskers, one line each from the top, with their thresholds; ``zero`` draws a line at 0."""
    with _figure(_ROW * len(rows) + 0.75) as (figure, axes):
        for place, row in enumerate(rows):
            colour = _TONES[row.tone]
            axes.plot([row.lower, row.upper], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([row.mean], [place], "o", color=colour, markersize=7)
            if row.mark is not None:
                axes.plot([row.mark, row.mark], [place - 0.36, place + 0.36], color=_BAD, linewidth=1.6, linestyle="--")
        if zero:
            axes.axvline(0, color=_QUIET, linewidth=0.9, zorder=0)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(label)
        return _svg(figure)


def bars(rows: Mapping[str, Mapping[str, float]], *, label: str, tones: Mapping[str, str] | None = None) -> str:
    """Stacked horizontal bars: by row, the length of each part. Parts have the same colour in every row.

    Args:
        rows: by row, then by part; a part that a row lacks is 0.
        label: of the axis of lengths.
        tones: by part, as in :class:`Interval`; the others get colours in turn.
    """
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    colours = dict(zip(parts, (_SERIES[index % len(_SERIES)] for index in range(len(parts))), strict=True))
    colours |= {part: _TONES[tone] for part, tone in (tones or {}).items() if part in colours}
    with _figure(_ROW * len(rows) + 1.15) as (figure, axes):
        starts = [0.0] * len(rows)
        for part in parts:
            lengths = [row.get(part, 0.0) for row in rows.values()]
            axes.barh(range(len(rows)), lengths, left=starts, height=0.62, color=colours[part], label=part)
            starts = [start + length for start, length in zip(starts, lengths, strict=True)]
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(label)
        if parts:
            figure.legend(loc="outside upper center", ncols=min(4, len(parts)), fontsize=9.5)
        return _svg(figure)


def timeline(
    lines: Sequence[Line],
    *,
    label: str,
    start: float,
    end: float,
    marks: Sequence[Mark] = (),
    gap_s: float = math.inf,
    most: float | None = None,
) -> str:
    """Values over time, in UTC, with what happened as upright lines.

    Args:
        label: of the axis of values, which begins at 0 or, where there are some, with negative values.
        start: where the axis of time begins, in Unix seconds.
        end: where it ends.
        gap_s: points that are further apart, in seconds, are not joined.
        most: where the axis of values ends; None: with the largest value.
    """
    with _figure(2.9) as (figure, axes):
        drawn: list[Any] = []
        for place, line in enumerate(lines):
            colour = _SERIES[(place if line.colour is None else line.colour) % len(_SERIES)]
            moments, values = _broken(line.points, gap_s)
            drawn += axes.plot(
                moments,
                values,
                color=colour,
                linewidth=1.1 if line.dashed else 1.7,
                linestyle="--" if line.dashed else "-",
                marker=".",
                markersize=2.5,
            )
        for mark in marks:
            at = mark.at / _DAY_S
            axes.axvline(at, color=_QUIET, linewidth=0.9, linestyle=":")
            axes.text(at, 1.01, mark.label, transform=axes.get_xaxis_transform(), ha="center", fontsize=8, color=_QUIET)
        _date_axis(axes, start, end)
        axes.set_ylim(min((0.0, *(value for line in lines for _, value in line.points))), most)
        axes.set_ylabel(label)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        if drawn:
            names = [_legible(line.label) for line in lines]
            figure.legend(drawn, names, loc="outside upper center", ncols=min(3, len(names)), fontsize=9)
        return _svg(figure)


def _broken(points: Sequence[tuple[float, float]], gap_s: float) -> tuple[list[float], list[float]]:
    """Days and values, with a hole wherever two points are further apart than ``gap_s``."""
    moments: list[float] = []
    values: list[float] = []
    before = math.inf
    for at, value in points:
        if at - before > gap_s:
            moments.append((before + at) / 2 / _DAY_S)
            values.append(math.nan)
        moments.append(at / _DAY_S)
        values.append(value)
        before = at
    return moments, values


def _date_axis(axes: Any, start: float, end: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlim(start / _DAY_S, end / _DAY_S)
    axes.set_xlabel("UTC")


def _legible(label: str) -> str:
    """The label as a legend shows it: one that begins with an underscore would be left out."""
    return f" {label}" if label.startswith("_") else label


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Any]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        yield figure, axes


def _svg(figure: Figure) -> str:
    """The picture without prologue, its colours as variables, its text in the page's own font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # Only what stands in a style: labels are texts of others.
    return re.sub(r"style=\"[^\"]*\"", _styled, text)


def _styled(style: re.Match[str]) -> str:
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", style.group())
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text
