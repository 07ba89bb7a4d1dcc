"""Reads generated text as it comes, finds its citations, and drops those that name no passage. Pure.

A marker is ``[1]`` or ``[1, 2]``, with numbers from 1 to 999. It is none

- directly after a word character, ``)``, or a ``]`` that did not end a marker: that is indexing, as in ``a[0]``, or a
  Markdown link;
- inside a bracket that is still open, as in ``[[1]]``;
- in inline code (which ends at its backticks or the line's end) or in a fence.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from serving.grounding.prompt import GivenPassage
from serving.grounding.support import Quotable, citing_sentence

_N = r"[1-9]\d{0,2}"
_MARKER = re.compile(rf"\[{_N}(?:, ?{_N})*\]", re.ASCII)
_BEGINNING = re.compile(rf"\[(?:{_N}(?:, ?{_N})*(?:, ?)?)?", re.ASCII)
_LONGEST = 64
_FENCE = 3
_STILL_OPEN = frozenset("0123456789, ")
_NO_SPACE_BEFORE = frozenset("\n\t.,;:!?)")


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker that stands in the text."""

    numbers: tuple[int, ...]
    start: int
    """Index of its ``[`` in the emitted text, in code points."""
    end: int
    """Index after its ``]``."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One passage, cited in one place."""

    passage: GivenPassage
    start: int
    end: int
    quote: str
    """The sentence of the passage that supports best what cites it; empty where none shares a word with that."""


class CitationReader:
    """Feed it a text in pieces of any size: what it emits does not depend on where they were cut.

    Args:
        numbers: of the passages that were given.
        keep_all: leave markers of other passages in the text, and count them all the same: for texts whose shape
            must not change.
    """

    def __init__(self, numbers: Collection[int], *, keep_all: bool = False) -> None:
        self._numbers = frozenset(numbers)
        self._keep_all = keep_all
        self._emitted: list[str] = []
        self._length = 0
        self._out: list[str] = []
        self._before = "\n"
        self._after_marker = False
        self._open = False
        self._ticks = 0
        self._code = 0
        self._space = False
        self._dropped_here = False
        self._partial = ""
        self.markers: list[Marker] = []
        self.dropped = 0
        """Citations of passages that were not given."""

    @property
    def text(self) -> str:
        """Everything emitted so far."""
        return "".join(self._emitted)

    def feed(self, delta: str) -> str:
        """What can be emitted now: all but a space, or the beginning of a marker, at the end."""
        for character in delta:
            self._take(character)
        return self._flush()

    def finish(self) -> str:
        """What was held back, once nothing more comes."""
        self._give_up_partial()
        if self._space and not self._dropped_here:
            self._emit(" ")
        self._space = False
        return self._flush()

    def _flush(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        if text:
            self._emitted.append(text)
        return text

    def _take(self, character: str) -> None:
        if self._partial:
            candidate = self._partial + character
            if character == "]" and _MARKER.fullmatch(candidate):
                self._partial = ""
                self._mark(candidate)
                return
            if len(candidate) < _LONGEST and _BEGINNING.fullmatch(candidate):
                self._partial = candidate
                return
            self._give_up_partial()
        if self._ticks and character != "`":
            self._end_ticks()
        if character == "[" and self._may_begin():
            self._partial = character
        elif character == " " and not self._code:
            self._hold_space()
        else:
            self._plain(character)

    def _may_begin(self) -> bool:
        if self._code or self._open:
            return False
        before = " " if self._space else self._before
        return self._after_marker or not (before.isalnum() or before in "_)]")

    def _hold_space(self) -> None:
        """Spaces on both sides of a dropped marker become one."""
        if self._space and not self._dropped_here:
            self._emit(" ")
        self._space = True

    def _plain(self, text: str) -> None:
        """Emit ``text``: one character, or a beginning that became no marker."""
        self._release_space(text)
        self._emit(text)
        if text == "`":
            self._ticks += 1
        elif text == "\n" and self._code < _FENCE:
            self._code = 0
        if text[0] == "[":
            self._open = True
        elif text not in _STILL_OPEN:
            self._open = False
        self._before = text[-1]
        self._after_marker = False

    def _release_space(self, following: str) -> None:
        if self._space and not (self._dropped_here and following in _NO_SPACE_BEFORE):
            self._emit(" ")
        self._space = self._dropped_here = False

    def _give_up_partial(self) -> None:
        partial, self._partial = self._partial, ""
        if partial:
            self._plain(partial)

    def _end_ticks(self) -> None:
        ticks, self._ticks = self._ticks, 0
        if self._code == 0:
            self._code = ticks
        elif ticks == self._code or ticks > self._code >= _FENCE:
            self._code = 0

    def _mark(self, marker: str) -> None:
        wanted = list(dict.fromkeys(int(number) for number in re.findall(r"\d+", marker)))
        known = tuple(number for number in wanted if number in self._numbers)
        self.dropped += len(wanted) - len(known)
        if known or self._keep_all:
            self._release_space(marker)
            if len(known) < len(wanted) and not self._keep_all:
                marker = f"[{', '.join(map(str, known))}]"
            start = self._length
            self._emit(marker)
            if known:
                self.markers.append(Marker(known, start, self._length))
        else:
            # Code spans on both sides of what is dropped must not become one.
            self._space = self._space or self._before == "`"
            self._dropped_here = True
        self._before, self._after_marker, self._open = "]", True, False

    def _emit(self, text: str) -> None:
        self._out.append(text)
        self._length += len(text)


def citations(text: str, markers: Sequence[Marker], passages: Sequence[GivenPassage]) -> Iterator[Citation]:
    """What the markers of an emitted ``text`` cite, in its order."""
    by_number = {passage.number: (passage, Quotable(passage.text)) for passage in passages}
    for marker in markers:
        sentence = citing_sentence(text, marker.start, marker.end)
        for number in marker.numbers:
            passage, quotable = by_number[number]
            yield Citation(passage, marker.start, marker.end, quotable.best(sentence))
