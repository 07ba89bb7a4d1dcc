"""Reading sources: a file, a folder or a glob, and what of it can be taken.

Nothing is raised for a single file: what cannot be taken is a value among the others, since one unreadable file must
not stop the rest. For pages on the web see :mod:`retrieval.web_source`.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from retrieval.errors import DocumentUnreadable
from retrieval.parsing.parse import is_supported

_MAGIC = frozenset("*?[")
_ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class Validators:
    """What a web server said of a page's edition, to be asked whether there is a later one."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that can be taken."""

    source: str
    """Its lasting name: the path from the folder that was given, with ``/``, or the URL."""
    name: str
    """A file name, whose suffix tells the kind."""
    read: Callable[[], bytes] = field(repr=False, compare=False)
    """Gives the content. Raises DocumentUnreadable where it can no longer be read."""
    size: int
    """Bytes."""
    modified: float | None
    """Unix seconds; None where it is not known."""
    validators: Validators = Validators()


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Something that cannot be taken."""

    source: str
    """As of a file. Of a folder it ends with ``/``, and nothing is known of what is in it."""
    reason: str
    skipped: bool = False
    """It is left out by rule and is as good as absent; otherwise it may come back."""


def read_path(path: Path, max_bytes: int) -> Iterator[SourceFile | SourceProblem]:
    """What is in a file, a folder or a glob (``*``, ``?``, ``[a-z]``, ``**`` for folders of any depth), in order.

    Hidden files, kinds that cannot be parsed and links that lead out of the folder are skipped, and said to be. Links
    to folders are not followed.

    Args:
        max_bytes: of one file; a larger one is a problem.
    """
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        yield SourceProblem(_shown((path.name,)), _words(error))
        return
    if is_folder:
        yield from _in_folder(path, (_ANY_FOLDERS,), max_bytes)
    elif is_there or not _MAGIC.intersection(str(path)):
        yield _taken(path, (path.name,), path.parent.resolve(), max_bytes, is_named=True)
    else:
        place = next(number for number, part in enumerate(path.parts) if _MAGIC.intersection(part))
        yield from _in_folder(Path(*path.parts[:place]), path.parts[place:], max_bytes)


def _in_folder(folder: Path, pattern: Sequence[str], max_bytes: int) -> Iterator[SourceFile | SourceProblem]:
    """Files below the folder whose path from it matches, part by part."""
    root = folder.resolve()
    ahead: list[tuple[str, ...]] = [()]
    while ahead:
        parts = ahead.pop()
        path = root.joinpath(*parts)
        if parts and not _is_folder(path):
            if _matches(parts, pattern):
                yield _taken(path, parts, root, max_bytes)
        elif parts and parts[-1].startswith("."):
            yield SourceProblem(_shown(parts) + "/", "hidden", skipped=True)
        else:
            try:
                names = sorted((entry.name for entry in path.iterdir()), reverse=True)
            except OSError as error:
                yield SourceProblem(_shown(parts) + "/", _words(error))
                continue
            ahead += [(*parts, name) for name in names if _may_lead((*parts, name), pattern)]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _may_lead(parts: tuple[str, ...], pattern: Sequence[str]) -> bool:
    """Whether something at or below ``parts`` can match."""
    for part, wanted in zip(parts, pattern, strict=False):
        if wanted == _ANY_FOLDERS:
            return True
        if not fnmatchcase(part, wanted):
            return False
    return len(parts) <= len(pattern)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == _ANY_FOLDERS:
        rest = pattern[1:]
        return not rest or any(_matches(parts[start:], rest) for start in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _taken(
    path: Path, parts: tuple[str, ...], root: Path, max_bytes: int, *, is_named: bool = False
) -> SourceFile | SourceProblem:
    """One file. Where it ``is_named`` by the operator it may be hidden, and a link may lead anywhere."""
    source, name = _shown(parts), parts[-1]
    if name.startswith(".") and not is_named:
        return SourceProblem(source, "hidden", skipped=True)
    try:
        name.encode()
        real = path.resolve(strict=True)
        found = real.stat()
    except UnicodeEncodeError:
        return SourceProblem(source, "its name is not UTF-8")
    except (OSError, RuntimeError) as error:
        return SourceProblem(source, _words(error))
    if not is_named and not real.is_relative_to(root):
        return SourceProblem(source, "a link that leads out of the folder", skipped=True)
    if not stat.S_ISREG(found.st_mode):
        is_folder = stat.S_ISDIR(found.st_mode)
        return SourceProblem(source, "a link to a folder" if is_folder else "not a regular file", skipped=True)
    if not is_supported(name):
        return SourceProblem(source, f"files of the kind {Path(name).suffix[:20]} cannot be read", skipped=True)
    if found.st_size > max_bytes:
        return SourceProblem(source, f"it has {found.st_size:,} bytes; at most {max_bytes:,} are taken")
    return SourceFile(source, name, lambda: _content(real, max_bytes), found.st_size, found.st_mtime)


def _content(path: Path, max_bytes: int) -> bytes:
    """The file as it is now, which may no longer be what was found: it is looked at again once it is open."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DocumentUnreadable("invalid_file", "not a regular file")
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DocumentUnreadable("invalid_file", _words(error)) from error
    if len(data) > max_bytes:
        raise DocumentUnreadable("invalid_file", f"it grew; at most {max_bytes:,} bytes are taken")
    return data


def _shown(parts: Sequence[str]) -> str:
    return "/".join(parts).encode("utf-8", "backslashreplace").decode()


def _words(error: Exception) -> str:
    """What went wrong, without the machine's paths."""
    return (error.strerror if isinstance(error, OSError) else None) or "a link that leads to itself"
