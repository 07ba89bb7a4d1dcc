"""From a document's blocks to passages that fit the embedder. Pure.

A passage never crosses a heading, keeps code and tables in one piece where they fit, and is otherwise split where its
kind allows: prose between sentences, code between lines, tables between rows. The headings above a passage are its
context (contextual chunk headers), since a piece that says "it costs 40 EUR" is found only with what "it" is.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument

CountTokens = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, by the embedder's own tokenizer, special tokens left out."""

_CONTEXT_SHARE = 4
"""A context may take this part of the room: a quarter. Longer ones lose their middle headings, then their end."""
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|\n+")
_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How long passages are, in tokens of the embedder."""

    max_tokens: int
    overlap_tokens: int = 0
    """How much of the end of one piece of a split block begins the next."""

    def __post_init__(self) -> None:
        if self.max_tokens < 16:
            raise ValueError(f"passages of {self.max_tokens} tokens are too short; at least 16")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ValueError("an overlap is at most half of a passage")


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one passage, and its context."""

    text: str
    context: str


def chunk(document: ParsedDocument, limits: ChunkLimits, count: CountTokens) -> list[Piece]:
    """The document's passages in reading order; none for a document without text."""
    pieces: list[Piece] = []
    for path, blocks in _sections(document):
        context = _context(path, limits.max_tokens // _CONTEXT_SHARE, count)
        room = limits.max_tokens - (count([context])[0] if context else 0)
        packer = _Packer(room, min(limits.overlap_tokens, room // 2), count)
        pieces += (Piece(text, context) for text in packer.pack(blocks))
    return pieces


def _sections(document: ParsedDocument) -> Iterator[tuple[list[str], list[Block]]]:
    """Blocks under the same headings, with those headings."""
    path: list[tuple[int, str]] = [(0, document.title)] if document.title else []
    blocks: list[Block] = []
    for block in document.blocks:
        if block.kind is not BlockKind.HEADING:
            if block.text.strip():
                blocks.append(block)
            continue
        if blocks:
            yield [text for _, text in path], blocks
            blocks = []
        path = [above for above in path if above[0] < block.level]
        if not (path and path[-1][1] == block.text):  # a title is often the first heading too
            path.append((block.level, block.text))
    if blocks:
        yield [text for _, text in path], blocks


def _context(path: Sequence[str], room: int, count: CountTokens) -> str:
    """The headings, outermost first, within ``room`` tokens: the first and the last say most."""
    kept = list(path)
    while len(kept) > 2 and count([_joined(kept)])[0] > room:
        del kept[len(kept) // 2]
    text = _joined(kept)
    words = _WORD.findall(text)
    while words and count([text])[0] > room:
        words = words[: max(len(words) * 3 // 4, len(words) - 8)] if len(words) > 1 else []
        text = "".join(words).strip()
    return text


def _joined(path: Iterable[str]) -> str:
    return " > ".join(" ".join(text.split()) for text in path)


class _Packer:
    """Fills passages of one section."""

    def __init__(self, room: int, overlap: int, count: CountTokens) -> None:
        self._room = room
        self._overlap = overlap
        self._count = count

    def pack(self, blocks: Sequence[Block]) -> Iterator[str]:
        """Blocks joined while they fit; those that do not fit split."""
        sizes = self._count([_whole(block) for block in blocks])
        held: list[str] = []
        used = 0
        for block, size in zip(blocks, sizes, strict=True):
            alone = block.kind is BlockKind.RECORD or size > self._room
            # What joins two blocks is a token at most.
            if held and (alone or used + size + 1 > self._room):
                yield "\n\n".join(held)
                held, used = [], 0
            if not alone:
                held.append(_whole(block))
                used += size + 1
            elif size <= self._room:
                yield _whole(block)
            else:
                yield from self._split(block)
        if held:
            yield "\n\n".join(held)

    def _split(self, block: Block) -> Iterator[str]:
        header = f"{block.header}\n" if block.header else ""
        room = self._room - (self._count([header])[0] if header else 0)
        if room < self._room // 2:
            # A header that leaves no room is data like the rest.
            header, room = "", self._room
            block = Block(block.kind, _whole(block))
        if block.kind is BlockKind.CODE:
            parts = [part for part in re.split(r"(?<=\n)", block.text) if part]
        elif block.kind is BlockKind.TABLE:
            parts = block.text.splitlines(keepends=True)
        else:
            parts = _sentences(block.text)
        for text in self._fill(list(self._short_enough(parts, room)), room, block.kind):
            yield f"{header}{text}"

    def _short_enough(self, parts: Sequence[str], room: int) -> Iterator[tuple[str, int]]:
        """Parts with their sizes; a part that alone is too long is cut between words, a word between characters."""
        for part, size in zip(parts, self._count(parts), strict=True):
            if size <= room:
                yield part, size
                continue
            finer = _WORD.findall(part)
            if len(finer) <= 1:
                middle = len(part) // 2
                finer = [part[:middle], part[middle:]] if middle else []
            elif len(finer) > 8:
                # Halves of halves: a hundred megabytes without a sentence's end stay linear in time.
                middle = len(finer) // 2
                finer = ["".join(finer[:middle]), "".join(finer[middle:])]
            yield from self._short_enough(finer, room)

    def _fill(self, parts: Sequence[tuple[str, int]], room: int, kind: BlockKind) -> Iterator[str]:
        start = 0
        while start < len(parts):
            end, used = start, 0
            while end < len(parts) and used + parts[end][1] <= room:
                used += parts[end][1]
                end += 1
            if kind is BlockKind.CODE and end < len(parts):
                end = _after_empty_line(parts, start, end)
            text = "".join(part for part, _ in parts[start:end]).strip("\n" if kind is BlockKind.CODE else None)
            if text.strip():
                yield text
            start = end if end >= len(parts) else self._overlapping(parts, start, end)

    def _overlapping(self, parts: Sequence[tuple[str, int]], start: int, end: int) -> int:
        """Where the next piece begins so that it repeats at most the overlap, and still moves on."""
        used, begin = 0, end
        while begin - 1 > start and used + parts[begin - 1][1] <= self._overlap:
            begin -= 1
            used += parts[begin][1]
        return begin


def _after_empty_line(parts: Sequence[tuple[str, int]], start: int, end: int) -> int:
    """The last empty line in the second half of the piece, so that functions stay whole."""
    for place in range(end, start + (end - start) // 2, -1):
        if not parts[place - 1][0].strip():
            return place
    return end


def _sentences(text: str) -> list[str]:
    parts, begin = [], 0
    for found in _SENTENCE_END.finditer(text):
        parts.append(text[begin : found.end()])
        begin = found.end()
    return [part for part in (*parts, text[begin:]) if part]


def _whole(block: Block) -> str:
    return f"{block.header}\n{block.text}" if block.header else block.text
