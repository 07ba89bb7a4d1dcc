"""Reading one page or file on the web, and asking whether it changed since."""

import asyncio
import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from urllib.parse import unquote

import httpx

from retrieval.parsing.parse import SUFFIXES
from retrieval.sources import SourceFile, SourceProblem, Validators

MAX_REDIRECTS = 5
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SUFFIXES: Mapping[str, str] = {
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/pdf": "pdf",
    "application/x-ndjson": "jsonl",
    "application/xhtml+xml": "xhtml",
    "application/xml": "xml",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/tab-separated-values": "tsv",
    "text/xml": "xml",
    _DOCX: "docx",
}
_UNTOLD = ("", "text/plain", "application/octet-stream", "binary/octet-stream")
"""What servers also say of kinds that they do not know: the path's suffix knows better."""
_ENCODINGS = ("", "identity", "gzip")
"""Those asked for; others, and several over each other, can hide a bomb."""
_SLOW_CODECS = ("idna", "punycode")
"""Their time grows with the square of the text."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The page is what it was when its server gave the validators."""

    source: str


class _Unfit(Exception):
    """The answer is not one to take; says why."""


def read_url(
    url: str, max_bytes: int, *, timeout_s: float = 30.0, known: Validators | None = None
) -> SourceFile | SourceProblem | Unchanged:
    """Fetch a page, unless it is the one that is known.

    May not be called in a thread that runs an event loop.

    Args:
        url: with ``http`` or ``https``; up to five redirects are followed.
        max_bytes: a longer one is a problem, and is not read to its end.
        timeout_s: for all of it.
        known: what came with the page the last time.
    """
    try:
        address = httpx.URL(url)
        source = str(address.copy_with(username=None, password=None, fragment=None))
    except httpx.InvalidURL:
        return SourceProblem(url, "not a URL")
    try:
        return asyncio.run(_fetched(address, source, max_bytes, timeout_s, known))
    except _Unfit as why:
        return SourceProblem(source, str(why))
    except httpx.TooManyRedirects:
        return SourceProblem(source, f"more than {MAX_REDIRECTS} redirects")
    except (httpx.TimeoutException, TimeoutError):
        return SourceProblem(source, f"not fetched within {timeout_s:g} seconds")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return SourceProblem(source, f"it cannot be fetched: {type(error).__name__}")


async def _fetched(
    address: httpx.URL, source: str, max_bytes: int, timeout_s: float, known: Validators | None
) -> SourceFile | Unchanged:
    # httpx limits each read, and a server may send one byte with each; so the whole is limited here.
    headers = {"accept-encoding": "gzip", **_conditions(known)}
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(timeout=timeout_s, follow_redirects=True, max_redirects=MAX_REDIRECTS) as client,
        client.stream("GET", address, headers=headers) as answer,
    ):
        if known is not None and answer.status_code == httpx.codes.NOT_MODIFIED:
            return Unchanged(source)
        return await _taken(source, answer, max_bytes)


def _conditions(known: Validators | None) -> dict[str, str]:
    if known is None:
        return {}
    given = {"if-none-match": known.etag, "if-modified-since": known.last_modified}
    return {name: value for name, value in given.items() if value}


async def _taken(source: str, answer: httpx.Response, max_bytes: int) -> SourceFile:
    if answer.status_code != httpx.codes.OK:
        raise _Unfit(f"its server answered {answer.status_code} {answer.reason_phrase}".rstrip())
    if answer.headers.get("content-encoding", "").lower() not in _ENCODINGS:
        raise _Unfit("its server used an encoding that was not asked for")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    name = _name(answer.url, kind)
    data = await _body(answer, max_bytes)
    if kind.startswith("text/"):
        data = _as_utf8(data, answer.charset_encoding)
    validators = Validators(answer.headers.get("etag", ""), answer.headers.get("last-modified", ""))
    return SourceFile(source, name, lambda: data, len(data), _seconds(validators.last_modified), validators)


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > max_bytes:
            raise _Unfit(f"it is too large; at most {max_bytes:,} bytes are taken")
    return bytes(body)


def _name(url: httpx.URL, kind: str) -> str:
    """The last part of the path, with the suffix of the kind."""
    path = PurePosixPath(unquote(url.path))
    stem, suffix = path.stem or "index", path.suffix.removeprefix(".").lower()
    if kind not in _UNTOLD:
        if kind not in _SUFFIXES and not (kind.startswith("text/") and suffix in SUFFIXES):
            raise _Unfit(f"files of the kind {kind[:80]} cannot be read")
        suffix = suffix if _SUFFIXES.get(kind, suffix) == suffix else _SUFFIXES[kind]
    elif suffix not in SUFFIXES and kind == "text/plain":
        suffix = "txt"
    if suffix not in SUFFIXES:
        raise _Unfit(f"files of the kind .{suffix[:20]} cannot be read" if suffix else "its kind is not known")
    return f"{stem}.{suffix}"


def _as_utf8(data: bytes, charset: str | None) -> bytes:
    """What the server says of the encoding counts where it is true."""
    try:
        if charset is None or codecs.lookup(charset).name in _SLOW_CODECS:
            return data
        return data.decode(charset).encode()
    except (LookupError, ValueError):
        return data


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
