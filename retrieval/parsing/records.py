"""CSV and JSON lines: each row is a record that stands for itself."""

import csv
import io
import json
from collections.abc import Iterator, Mapping

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument

_SAMPLE = 16_384
_FIELD_LIMIT = 10 * 2**20


def parse_csv(text: str) -> ParsedDocument:
    """A table whose first row names the columns. Delimiters are found out: comma, semicolon, tab, bar.

    Raises:
        DocumentUnreadable: it is not a table.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DocumentUnreadable("invalid_file", f"not a table of comma-separated values: {error}") from error
    if not rows:
        return ParsedDocument("", ())
    names = [name.strip() for name in rows[0]]
    records = ({_name(names, place): cell for place, cell in enumerate(row)} for row in rows[1:])
    return ParsedDocument("", tuple(_record(record) for record in records))


def parse_jsonl(text: str) -> ParsedDocument:
    """A JSON value on each line. Raises DocumentUnreadable, naming the line."""
    return ParsedDocument("", tuple(_json_lines(text)))


def _json_lines(text: str) -> Iterator[Block]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DocumentUnreadable("invalid_file", f"line {number} is not JSON: {error}") from error
        yield _record(value) if isinstance(value, Mapping) else Block(BlockKind.RECORD, _shown(value))


def _record(values: Mapping[str, object]) -> Block:
    shown = (f"{name}: {text}" for name, value in values.items() if (text := _shown(value).strip()))
    return Block(BlockKind.RECORD, "\n".join(shown))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _name(names: list[str], place: int) -> str:
    return names[place] if place < len(names) and names[place] else f"column {place + 1}"
