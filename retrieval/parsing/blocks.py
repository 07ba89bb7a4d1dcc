"""What a parser makes of a file: a title and blocks in reading order. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class BlockKind(StrEnum):
    """What a block is, which decides how it may be split."""

    HEADING = "heading"
    TEXT = "text"
    """Prose: split between sentences."""
    CODE = "code"
    """Split between lines, at empty ones where there are any."""
    TABLE = "table"
    """Split between rows; the header is repeated."""
    RECORD = "record"
    """A row of data that stands for itself: never joined with its neighbours."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document as its author set it apart."""

    kind: BlockKind
    text: str
    level: int = 0
    """Of a heading, from 1."""
    header: str = ""
    """Lines that every piece of a table begins with."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A file's text with its structure."""

    title: str
    """As the document names itself; empty where it does not."""
    blocks: tuple[Block, ...]
