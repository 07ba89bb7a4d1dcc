"""What the commands print for people is made of."""

import sys
import unicodedata
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PIPE_WIDTH = 160
_UNBROKEN = ("Version", "Age", "Size", "Id", "File", "Passages", "Score")


def console() -> Console:
    """Where it goes."""
    # A pipe has no width of its own; a narrow default would cut names short.
    # With emoji on, line 100 of a file, `:100:`, would become a picture.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, emoji=False)


def say(text: str, *, style: str | None = None) -> None:
    """A line of plain text."""
    console().print(cell(text), style=style, soft_wrap=True)


def cell(text: str) -> str:
    """Text that others chose, as markup that shows it and does nothing else."""
    return escape(plain(text))


def plain(text: str) -> str:
    """The same without what would command a terminal."""
    return "".join(one if one == "\n" or unicodedata.category(one)[0] != "C" else "?" for one in text)


def new_table(*columns: str) -> Table:
    """A table without lines. Cells are markup; see :func:`cell`."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column in _UNBROKEN, overflow="fold")
    return table


def size(count: int) -> str:
    """Bytes for people: ``9.8 MiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def age(moment: str | int) -> str:
    """Time since a moment, ISO 8601 or Unix seconds, in its largest unit: ``3 h``."""
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
