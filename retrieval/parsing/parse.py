"""``parse``: a file's bytes to a document, by the kind that its name tells."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.blocks import Block, BlockKind, ParsedDocument
from retrieval.parsing.markdown import parse_html, parse_markdown
from retrieval.parsing.records import parse_csv, parse_jsonl
from retrieval.parsing.text import decode

_CODE = frozenset(
    (
        *("c", "cc", "cpp", "cs", "css", "go", "h", "hpp", "java", "js", "json", "jsx", "kt", "lua", "php", "pl"),
        *(
            "proto",
            "py",
            "r",
            "rb",
            "rs",
            "scala",
            "sh",
            "sql",
            "swift",
            "tf",
            "toml",
            "ts",
            "tsx",
            "xml",
            "yaml",
            "yml",
        ),
    )
)
_PROSE = frozenset(("txt", "text", "log", "rst", "adoc", "tex", ""))


def _parse_prose(text: str) -> ParsedDocument:
    paragraphs = (part.strip("\n") for part in text.split("\n\n"))
    return ParsedDocument("", tuple(Block(BlockKind.TEXT, part) for part in paragraphs if part.strip()))


def _parse_code(text: str) -> ParsedDocument:
    return ParsedDocument("", (Block(BlockKind.CODE, text.strip("\n")),) if text.strip() else ())


_TEXT_PARSERS: dict[str, Callable[[str], ParsedDocument]] = {
    "csv": parse_csv,
    "htm": parse_html,
    "html": parse_html,
    "jsonl": parse_jsonl,
    "markdown": parse_markdown,
    "md": parse_markdown,
    "ndjson": parse_jsonl,
    "tsv": parse_csv,
    "xhtml": parse_html,
    **dict.fromkeys(_PROSE, _parse_prose),
    **dict.fromkeys(_CODE, _parse_code),
}

SUFFIXES = frozenset((*_TEXT_PARSERS, "pdf", "docx")) - {""}
"""Kinds of files that can be read, by the end of their names, without the dot."""


def is_supported(name: str) -> bool:
    """Whether files of this name's kind can be read; one without a suffix is taken for text."""
    return _suffix(name) in SUFFIXES or not _suffix(name)


def parse(name: str, data: bytes) -> ParsedDocument:
    """The document in a file.

    Args:
        name: the file's name, whose suffix tells its kind; a path before it is not looked at.

    Raises:
        DocumentUnreadable: the kind is not supported (``unsupported_file``), or the file is not what its name says,
            is damaged, or is empty (``invalid_file``).
    """
    suffix = _suffix(name)
    if not is_supported(name):
        known = ", ".join(sorted(SUFFIXES))
        raise DocumentUnreadable(
            "unsupported_file", f"files of the kind .{suffix[:20]} cannot be read; these can: {known}"
        )
    if not data.strip():
        raise DocumentUnreadable("invalid_file", "the file is empty")
    document = _parsed(suffix, data)
    if not document.blocks:
        raise DocumentUnreadable("invalid_file", "the file holds no text")
    return ParsedDocument(_encodable(document.title), tuple(_without_halves(block) for block in document.blocks))


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).suffix.removeprefix(".").lower()


def _without_halves(block: Block) -> Block:
    """JSON and PDF can hold halves of surrogate pairs, which cannot be encoded."""
    text, header = _encodable(block.text), _encodable(block.header)
    return block if text is block.text and header is block.header else replace(block, text=text, header=header)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _parsed(suffix: str, data: bytes) -> ParsedDocument:
    if suffix in ("pdf", "docx"):
        from retrieval.parsing.office import parse_docx, parse_pdf

        return (parse_pdf if suffix == "pdf" else parse_docx)(data)
    return _TEXT_PARSERS[suffix](decode(data))
