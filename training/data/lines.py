"""The lines of a JSONL file, read within bounds: no file makes a reader hang or take all memory."""

import hashlib
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training.errors import DataInvalid


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read at most."""

    file_bytes: int = 512 * 1024**2
    """OpenAI's own limit of a training file."""
    line_bytes: int = 4 * 1024**2
    rows: int = 500_000


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank."""

    number: int
    """From 1."""
    data: bytes
    """Without the line break; only its beginning where ``too_long``."""
    too_long: bool = False


_SIGNATURES = (
    (b"\x1f\x8b", "compressed", "is compressed (gzip)", "decompress it first"),
    (b"BZh", "compressed", "is compressed (bzip2)", "decompress it first"),
    (b"\xfd7zXZ\x00", "compressed", "is compressed (xz)", "decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed", "is compressed (zstd)", "decompress it first"),
    (b"PK\x03\x04", "compressed", "is a ZIP archive or an Office file", "export the rows as JSON lines"),
    (b"PAR1", "parquet", "is Parquet", "export the rows as JSON lines"),
    (b"ARROW1", "parquet", "is an Arrow file", "export the rows as JSON lines"),
    (b"%PDF", "document", "is a PDF document", "documents belong into a vector store: `loraplex ingest`"),
    (b"SQLite format 3", "binary", "is an SQLite database", "export the rows as JSON lines"),
    (b"\xff\xfe", "utf16", "is UTF-16", "save it as UTF-8 without a byte order mark"),
    (b"\xfe\xff", "utf16", "is UTF-16", "save it as UTF-8 without a byte order mark"),
    (b"\xef\xbb\xbf", "byte_order_mark", "begins with a byte order mark", "save it as UTF-8 without one"),
)
_HEAD = 16
_SEPARATED = re.compile(rb'(?:"[^"]*"|[\w .-]+)[,;\t]')
_OPENINGS = (b"{", b"[", b",")


class LineReader:
    """Reads one file once; afterwards it knows the digest of what was read."""

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self._path = path
        self._limits = limits
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of everything that was read."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Line]:
        """Every line that is not blank.

        Raises:
            DataInvalid: the file cannot be read, is too large, or is recognised as another format.
        """
        self._check_file()
        try:
            with self._path.open("rb") as file:
                self._check_head(file.read(_HEAD))
                file.seek(0)
                rows = 0
                for line in self._lines(file.readline):
                    if rows == 0:
                        self._check_first(line)
                    rows += 1
                    if rows > self._limits.rows:
                        raise self._refused(
                            "too_many_rows", f"has more than {self._limits.rows:,} rows; split it", line
                        )
                    yield line
        except OSError as error:
            raise self._refused("unreadable", f"cannot be read: {error.strerror or error}") from error
        if rows == 0:
            raise self._refused("empty_file", "has no rows; each line is to hold one")

    def _lines(self, readline: Callable[[int], bytes]) -> Iterator[Line]:
        limit = self._limits.line_bytes
        number = total = 0
        while data := readline(limit + 1):
            number += 1
            start = data
            while data:
                total += len(data)
                if total > self._limits.file_bytes:  # it grew while it was read
                    raise self._too_large()
                self._digest.update(data)
                if data.endswith(b"\n") or len(data) <= limit:
                    break
                data = readline(limit + 1)
            too_long = len(start.rstrip(b"\r\n")) > limit
            if too_long or start.strip():
                yield Line(number, start[:_HEAD] if too_long else start.rstrip(b"\r\n"), too_long)

    def _check_file(self) -> None:
        try:
            found = self._path.stat()
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise DataInvalid(
                f"cannot read {self._path}: {why}", code="unreadable", reason=f"the file cannot be read: {why}"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            # A pipe or a device may never end, nor even begin.
            raise self._refused("not_a_file", "is not a regular file; name a file of JSON lines")
        if found.st_size > self._limits.file_bytes:
            raise self._too_large()

    def _check_head(self, head: bytes) -> None:
        for signature, code, what, remedy in _SIGNATURES:
            if head.startswith(signature):
                raise self._refused(code, f"{what}; {remedy}", Line(1, head))

    def _check_first(self, line: Line) -> None:
        """Formats that would make every line an error are named once."""
        text = line.data.strip()
        if text.startswith(b"["):
            raise self._refused("json_array", "is a JSON array; write one row a line, without brackets or commas", line)
        if text.startswith(b"{") and text.endswith(_OPENINGS) and not line.too_long:
            raise self._refused("pretty_printed", "is JSON over several lines; write each row on one line", line)
        if _SEPARATED.match(text) and not line.too_long:
            raise self._refused(
                "csv", "looks like CSV or plain text; write each row as a JSON object on one line", line
            )

    def _too_large(self) -> DataInvalid:
        return self._refused("file_too_large", f"is larger than {self._limits.file_bytes // 1024**2} MiB; split it")

    def _refused(self, code: str, what: str, line: Line | None = None) -> DataInvalid:
        place = self._path if line is None else f"{self._path}:{line.number}"
        reason = f"the file {what}"
        return DataInvalid(f"{place}: {reason}", code=code, line=line.number if line else None, reason=reason)
