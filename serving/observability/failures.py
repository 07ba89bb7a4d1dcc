"""What a log may tell of an exception."""

import traceback
from collections.abc import Iterator

from adapters.errors import AdapterError
from serving.errors import ConfigInvalid

_SPEAKS = (AdapterError, ConfigInvalid, ImportError)
"""Their messages name files, versions, addresses and settings. Those of others may quote a prompt, a document, an
answer: engines, parsers and codecs say what they stumbled over."""

_MOST = 10
"""Exceptions of one chain that are told."""


def told(error: BaseException, *, messages: bool) -> str:
    """``error``, what caused it, and where each was raised, as a traceback has them.

    Args:
        messages: with every message; otherwise with those alone that quote no request.
    """
    if messages:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    lines: list[str] = []
    for link in _chain(error):
        lines += traceback.format_tb(link.__traceback__)
        lines.append(f"{named(link)}\n")
    return "".join(lines).rstrip("\n")


def named(error: BaseException) -> str:
    """The class of ``error``, and its message where that quotes no request."""
    name = type(error).__qualname__
    message = str(error) if isinstance(error, _SPEAKS) or _is_of_the_system(error) else ""
    return f"{name}: {message}" if message else name


def _is_of_the_system(error: BaseException) -> bool:
    """Whether the operating system raised it: libraries raise such errors with texts of their own, time limits too."""
    return isinstance(error, OSError) and error.errno is not None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised from, the cause first, as Python prints them."""
    links = [error]
    while len(links) < _MOST:
        last = links[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or before in links:
            break
        links.append(before)
    return reversed(links)
