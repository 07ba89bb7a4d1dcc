"""A report as Markdown, for a pull request or a terminal. Figures are left out, their captions too."""

import re
from collections.abc import Sequence

from training.reports.document import Block, Callout, Columns, Details, Figure, Output, Section, Table, Text

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!@])")
_LINE_START = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))", re.MULTILINE)
_SIGNS = {"good": "✓ ", "bad": "✗ ", "unsure": "? ", "plain": ""}


def render_markdown(title: str, sections: Sequence[Section]) -> str:
    """The document, in GitHub's Markdown. Texts are escaped: nothing in an answer becomes a link, a mention or HTML."""
    parts = [f"# {_line(title)}"]
    for section in sections:
        if section.title:
            parts.append(f"## {_line(section.title)}")
        parts.extend(_blocks(section.body))
    return "\n\n".join(parts) + "\n"


def _blocks(body: Sequence[Block]) -> list[str]:
    return [text for block in body if (text := _block(block))]


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return _escaped(text)
        case Callout(title, text, tone):
            lines = [f"**{_SIGNS[tone]}{_line(title)}**", *(_escaped(line) for line in text.splitlines() if line)]
            return "\n>\n".join(f"> {line}" for line in lines)
        case Table():
            return _table(block)
        case Figure():
            return ""
        case Output(label, text):
            return f"{_line(label)}:\n\n{_fenced(text)}"
        case Details(summary, inside, tone):
            return "\n\n".join([f"**{_SIGNS[tone]}{_line(summary)}**", *_blocks(inside)])
        case Columns(inside):
            return "\n\n".join(_blocks(inside))


def _table(table: Table) -> str:
    rules = ["---:" if column in table.numeric else "---" for column in range(len(table.headers))]
    rows = [[_line(cell) for cell in row] for row in (table.headers, *table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:])]
    caption = [f"{_escaped(table.caption)}\n"] if table.caption else []
    return "\n".join([*caption, *lines])


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _escaped(text: str) -> str:
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", text)) if text else ""


def _line(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
