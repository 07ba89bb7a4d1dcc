"""What a report is made of. Every text is plain text: whoever renders it escapes it, so model outputs may be put in as
they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["good", "bad", "unsure", "plain"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. Blank lines begin another one."""

    text: str


@dataclass(frozen=True, slots=True)
class Callout:
    """A sentence that must not be missed, such as a verdict."""

    title: str
    text: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equal length. Raises ValueError where one is not."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    """Columns that are set right, with figures of equal width."""
    caption: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headers) for row in self.rows):
            raise ValueError(f"every row needs {len(self.headers)} cells")


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of :mod:`training.reports.plots`: the one thing that is put in as it is."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a model said, letter by letter."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """Something that is folded away until it is asked for."""

    summary: str
    body: Sequence["Block"]
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Columns:
    """Blocks side by side where there is room."""

    body: Sequence["Block"]


Block = Text | Callout | Table | Figure | Output | Details | Columns


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report. One without a title stands at the top."""

    title: str
    body: Sequence[Block] = field(default_factory=tuple)
