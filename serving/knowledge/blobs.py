"""The bytes of uploaded files, in the artifact store."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from adapters.errors import StoreUnavailable
from adapters.filesystems import make_folder, open_filesystem
from serving.config import ArtifactSettings

_PARTIAL = ".partial"
_ID = re.compile(rf"file-[0-9a-f]{{32}}({re.escape(_PARTIAL)})?")
"""A file, or what a broken write left of one."""


class Blobs:
    """Files by their ids, in a local folder or behind an fsspec URL. Blocking, thread-safe.

    Raises:
        StoreUnavailable: the artifact store cannot be used; every method may.
    """

    def __init__(self, settings: ArtifactSettings) -> None:
        with _translated():
            self._fs, root = open_filesystem(settings.url, settings.options)
        self._root = f"{root}/files"

    def put(self, file_id: str, data: bytes) -> None:
        """Store a file; it is there entirely or not at all, and on return durably."""
        path = self._path(file_id)
        with _translated():
            make_folder(self._fs, self._root)
            if isinstance(self._fs, LocalFileSystem):
                _write_durably(Path(path), data)
            else:
                self._fs.pipe_file(path, data)

    def get(self, file_id: str) -> bytes | None:
        """A file's bytes; None where there are none."""
        with _translated():
            try:
                return bytes(self._fs.cat_file(self._path(file_id)))
            except FileNotFoundError:
                return None

    def delete(self, file_id: str) -> None:
        """Remove a file; an unknown one is no error."""
        with _translated():
            try:
                self._fs.rm_file(self._path(file_id))
            except FileNotFoundError:
                return

    def entries(self) -> list[tuple[str, float]]:
        """What there is, also of writes that broke off: names that :meth:`delete` takes, and ages in seconds."""
        now = datetime.now(UTC)
        found: list[tuple[str, float]] = []
        with _translated():
            self._fs.invalidate_cache(self._root)
            try:
                paths = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
            for path in paths:
                name = str(path).rpartition("/")[2]
                # Deleted since it was listed is as good as never there.
                with suppress(FileNotFoundError):
                    if _ID.fullmatch(name):
                        changed = self._fs.modified(path)
                        found.append((name, (now - changed.replace(tzinfo=changed.tzinfo or UTC)).total_seconds()))
        return found

    def _path(self, file_id: str) -> str:
        if not _ID.fullmatch(file_id):
            raise ValueError(f"not a file id: {file_id!r}")
        return f"{self._root}/{file_id}"


def _write_durably(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}{_PARTIAL}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _translated() -> Iterator[None]:
    """Everything that a file system or a cloud client may raise means that the store cannot be used now."""
    try:
        yield
    except (ValueError, StoreUnavailable):
        raise
    except Exception as error:
        raise StoreUnavailable(f"the artifact store cannot be used: {error}") from error
