"""``Vault``: where backups lie. Pieces by the SHA-256 of their bytes, each stored once, and a manifest for each backup.

URL/objects/ab/abcdef…        a piece
URL/backups/ID.json           a manifest
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from adapters.filesystems import open_filesystem
from serving.backup.errors import BackupInvalid, VaultUnavailable

_CHUNK = 4 * 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{32}")
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")


class Vault:
    """Blocking, thread-safe. A piece or manifest is there whole or not at all.

    Args:
        url: a folder, or an fsspec URL.
        options: fsspec storage options.

    Raises:
        VaultUnavailable: it cannot be used; every method may.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._url = url
        with self._translated():
            self._fs, self._root = open_filesystem(url, options)
        self._is_local = isinstance(self._fs, LocalFileSystem)

    # Pieces

    def pieces(self) -> dict[str, int]:
        """Size of every piece, in bytes."""
        return {name: int(info["size"]) for name, info in self._list("objects") if _SHA.fullmatch(name)}

    def put(self, data: bytes, sha: str) -> None:
        """Store a piece under its digest."""
        self._write(self._place(sha), data)

    def put_file(self, path: Path, sha: str) -> None:
        """The same for a file whose digest is known. Raises OSError where the file cannot be read."""
        place = self._place(sha)
        with self._translated():
            self._make_folder(place)
            if not self._is_local:
                self._fs.put_file(str(path), place)
                return
        with path.open("rb") as source, self._translated(), _arriving(Path(place)) as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)

    def read(self, sha: str) -> bytes:
        """A piece, checked. Raises BackupInvalid."""
        with self._found(sha):
            data = bytes(self._fs.cat_file(self._place(sha)))
        if hashlib.sha256(data).hexdigest() != sha:
            raise _damaged(sha)
        return data

    def fetch(self, sha: str, into: Path) -> None:
        """Copy a piece into a file, checked. Raises BackupInvalid."""
        with into.open("wb") as target:
            for chunk in self._checked(sha):
                target.write(chunk)

    def check(self, sha: str) -> None:
        """Read a piece from end to end. Raises BackupInvalid unless it is there and is what its name says."""
        for _ in self._checked(sha):
            pass

    # Manifests

    def backups(self) -> list[str]:
        """Ids of all backups, the oldest first."""
        names = (name.removesuffix(".json") for name, _ in self._list("backups"))
        return sorted(name for name in names if _ID.fullmatch(name))

    def manifest(self, backup: str) -> bytes:
        """The manifest of one backup. Raises BackupInvalid."""
        try:
            if _ID.fullmatch(backup):
                with self._translated(FileNotFoundError):
                    return bytes(self._fs.cat_file(self._manifest(backup)))
        except FileNotFoundError:
            pass
        raise BackupInvalid(f"there is no backup {backup} in {self._url}; `loraplex restore --list` names those there.")

    def write_manifest(self, backup: str, data: bytes) -> None:
        """From now on there is this backup."""
        self._write(self._manifest(backup), data)

    def delete_manifest(self, backup: str) -> None:
        """From now on there is no such backup; its pieces stay."""
        self._remove(self._manifest(backup))

    def tidy(self, used: set[str], older_than_s: float) -> int:
        """Remove the pieces that are not among ``used`` and what broken writes left, if it has lain there for so long:
        a younger one may be of a backup that is being made. How many there were.
        """
        now, removed = datetime.now(UTC), 0
        for name, info in self._list("objects"):
            if name in used or not (_SHA.fullmatch(name) or _PARTIAL.fullmatch(name)):
                continue
            with self._translated(), suppress(FileNotFoundError):
                changed = self._fs.modified(info["name"])
                if (now - changed.replace(tzinfo=changed.tzinfo or UTC)).total_seconds() > older_than_s:
                    self._fs.rm_file(info["name"])
                    removed += 1
        return removed

    def _list(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        with self._translated():
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return []
        return [(path.rpartition("/")[2], info) for path, info in sorted(found.items())]

    def _place(self, sha: str) -> str:
        return f"{self._root}/objects/{sha[:2]}/{sha}"

    def _manifest(self, backup: str) -> str:
        return f"{self._root}/backups/{backup}.json"

    def _make_folder(self, place: str) -> None:
        # Object stores have none, and would make a bucket of the first part of a path.
        if self._is_local:
            Path(place).parent.mkdir(parents=True, exist_ok=True)

    def _write(self, place: str, data: bytes) -> None:
        with self._translated():
            self._make_folder(place)
            if self._is_local:
                with _arriving(Path(place)) as target:
                    target.write(data)
            else:
                self._fs.pipe_file(place, data)

    def _remove(self, place: str) -> None:
        with self._translated(), suppress(FileNotFoundError):
            self._fs.rm_file(place)

    def _checked(self, sha: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with self._found(sha), self._fs.open(self._place(sha), "rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != sha:
            raise _damaged(sha)

    @contextmanager
    def _found(self, sha: str) -> Iterator[None]:
        if not _SHA.fullmatch(sha):
            raise BackupInvalid(f"{sha[:80]!r} is not the name of a piece; the backup was altered.")
        try:
            with self._translated(FileNotFoundError):
                yield
        except FileNotFoundError:
            raise BackupInvalid(
                f"the piece {sha[:12]} of the backup is missing in {self._url}; restore another backup."
            ) from None

    @contextmanager
    def _translated(self, *but: type[Exception]) -> Iterator[None]:
        own: tuple[type[Exception], ...] = (BackupInvalid, VaultUnavailable, *but)
        try:
            yield
        except own:
            raise
        except Exception as error:
            # fsspec's file systems raise whatever their transports raise.
            problem = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise VaultUnavailable(f"the place of the backups, {self._url}, cannot be used: {problem}") from error


def _damaged(sha: str) -> BackupInvalid:
    return BackupInvalid(f"the piece {sha[:12]} of the backup is not what it was when it was written; restore another.")


@contextmanager
def _arriving(place: Path) -> Iterator[Any]:
    """A file that appears under its name, durably, once it is whole."""
    partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        partial.rename(place)
    finally:
        partial.unlink(missing_ok=True)
