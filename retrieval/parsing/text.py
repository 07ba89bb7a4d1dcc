"""Bytes to text, whatever their encoding."""

import codecs

from charset_normalizer import from_bytes

from retrieval.errors import DocumentUnreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESS_BYTES = 200_000


def decode(data: bytes) -> str:
    """The text: by its byte order mark, as UTF-8, else by the most likely encoding.

    Control characters other than tabs and line ends are left out, line ends are ``\\n``.

    Raises:
        DocumentUnreadable: it is not text.
    """
    return _clean(_decoded(data))


def _decoded(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if b"\x00" in data[:_GUESS_BYTES]:
        raise DocumentUnreadable("invalid_file", "the file is binary, not text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(data[:_GUESS_BYTES]).best()
    if best is None:
        raise DocumentUnreadable("invalid_file", "the file's encoding is not known; save it as UTF-8")
    return data.decode(best.encoding, errors="replace")


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(_CONTROLS)


_CONTROLS = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n"}
