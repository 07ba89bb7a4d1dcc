"""PDF and DOCX to blocks."""

import io
import re
import zipfile
from collections.abc import Iterator

import mammoth
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument
from retrieval.parsing.markdown import parse_html

MAX_UNPACKED_BYTES = 512 * 2**20
MAX_UNPACK_RATIO = 200
"""An archive that grows more is a bomb: text shrinks to about a tenth."""
_SMALL = 2**20

_HYPHENATED = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")


def parse_pdf(data: bytes) -> ParsedDocument:
    """A PDF's text, page by page.

    Raises:
        DocumentUnreadable: it is damaged, needs a password, or holds pictures of text alone.
    """
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentUnreadable("invalid_file", "the PDF needs a password")
        blocks = tuple(_pages(reader))
        title = str(reader.metadata.title or "") if reader.metadata else ""
    except DocumentUnreadable:
        raise
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OSError) as error:
        # A damaged file breaks pypdf in many ways, of which its own exceptions are only some.
        raise DocumentUnreadable("invalid_file", f"the PDF is damaged: {error or type(error).__name__}") from error
    if not blocks and len(reader.pages):
        raise DocumentUnreadable("invalid_file", "the PDF holds no text, perhaps scans; recognise its text first (OCR)")
    return ParsedDocument(title.strip(), blocks)


def parse_docx(data: bytes) -> ParsedDocument:
    """A Word document's text with its headings and tables. Raises DocumentUnreadable."""
    _refuse_bombs(data)
    try:
        html = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(lambda _: {})).value
    except (zipfile.BadZipFile, ValueError, KeyError, AttributeError, OSError, SyntaxError, RecursionError) as error:
        raise DocumentUnreadable("invalid_file", f"the Word document is damaged: {error}") from error
    return parse_html(html)


def _pages(reader: PdfReader) -> Iterator[Block]:
    for page in reader.pages:
        text = _HYPHENATED.sub("", page.extract_text() or "").strip()
        for paragraph in re.split(r"\n\s*\n", text):
            if paragraph.strip():
                yield Block(BlockKind.TEXT, paragraph.strip())


def _refuse_bombs(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DocumentUnreadable("invalid_file", f"the Word document is damaged: {error}") from error
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > _SMALL and unpacked > MAX_UNPACK_RATIO * len(data)):
        raise DocumentUnreadable("invalid_file", f"the Word document unpacks to {unpacked:,} bytes, which is refused")
