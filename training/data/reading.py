"""Lines to rows, for every kind of row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from training.data.lines import LIMITS, Limits, Line, LineReader
from training.data.problems import row_invalid
from training.data.strict_json import parse_json
from training.errors import RowInvalid

RowT = TypeVar("RowT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Dataset(Generic[RowT]):
    """The rows of one file, and what identifies them."""

    path: Path
    rows: tuple[RowT, ...]
    lines: tuple[int, ...]
    """The line that each row stands on, from 1."""
    sha256: str


def read_rows(path: Path, model: type[RowT], limits: Limits = LIMITS) -> Dataset[RowT]:
    """Read and validate a whole file. Blank lines are allowed. Raises DataInvalid, naming the line."""
    reader = LineReader(path, limits)
    rows: list[RowT] = []
    lines: list[int] = []
    for number, row in parsed_lines(reader, model, limits):
        if isinstance(row, RowInvalid):
            raise row.at(path, number) from row
        rows.append(row)
        lines.append(number)
    return Dataset(path, tuple(rows), tuple(lines), reader.sha256)


def parsed_lines(
    reader: LineReader, model: type[RowT], limits: Limits = LIMITS
) -> Iterator[tuple[int, RowT | RowInvalid]]:
    """The number of every line that is not blank, and its row or what is wrong with it.

    Raises:
        DataInvalid: the file as a whole cannot be read.
    """
    for line in reader:
        try:
            yield line.number, parse_row(line, model, limits)
        except RowInvalid as problem:
            yield line.number, problem


def parse_row(line: Line, model: type[RowT], limits: Limits = LIMITS) -> RowT:
    """One row. Raises RowInvalid."""
    if line.too_long:
        raise RowInvalid("line_too_long", f"the line is longer than {limits.line_bytes:,} bytes; split the row")
    try:
        text = line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowInvalid(
            "not_utf8", f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
        ) from error
    try:
        return model.model_validate(parse_json(text))
    except ValidationError as error:
        raise row_invalid(error) from error
