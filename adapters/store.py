"""Where versions are kept: the artifact store that all replicas share, and each machine's disk cache in front of it."""

import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from adapters.digest import digest_folder
from adapters.errors import AdapterError, AdapterRejected, ArtifactCorrupt, StoreUnavailable
from adapters.filesystems import make_folder, open_filesystem
from adapters.layout import CONFIG, SERVED, WEIGHTS
from adapters.locks import FileLock
from adapters.types import AdapterVersion

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,126}")


class ArtifactStore:
    """Adapter files by version name, in a local folder or behind an fsspec URL.

    A version is there entirely or not at all: a local folder is renamed into place; elsewhere the configuration is
    written last, and without it a version does not exist.

    Args:
        url: a folder, or a URL such as ``s3://bucket/path``.
        options: fsspec storage options.

    Raises:
        StoreUnavailable: the URL cannot be used.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        with _translated(f"the artifact store {url}"):
            self._fs, self._root = open_filesystem(url, options)
        self._local = Path(self._root) if isinstance(self._fs, LocalFileSystem) else None

    def exists(self, name: str) -> bool:
        """Whether the version is stored. Raises StoreUnavailable."""
        with self._using(name):
            self._fs.invalidate_cache()  # other machines write too
            return bool(self._fs.exists(self._path(name, CONFIG)))

    def is_empty(self) -> bool:
        """Whether nothing lies here, of ours or of others. Raises StoreUnavailable."""
        with _translated("the artifact store"):
            self._fs.invalidate_cache()
            try:
                return not self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return True

    def put(self, folder: Path, name: str) -> None:
        """Store the files in ``folder`` that serve, and no others. Nothing happens if the version is stored already.

        Raises StoreUnavailable.
        """
        if self.exists(name):
            return
        with self._using(name):
            if self._local is not None:
                _put_local(folder, self._local, name)
                return
            for file in (WEIGHTS, CONFIG):
                make_folder(self._fs, self._path(name))
                self._fs.put_file(str(folder / file), self._path(name, file))

    def fetch(self, name: str, digest: str, into: Path) -> None:
        """Copy the version into the folder ``into`` and check it. On any failure ``into`` is removed.

        Raises:
            ArtifactCorrupt: it is missing, or its content is not what its name promises.
            StoreUnavailable: the store cannot be read.
        """
        if not self.exists(name):
            raise ArtifactCorrupt(f"the files of {name} are missing from the artifact store; add the adapter again.")
        try:
            with self._using(name):
                into.mkdir(parents=True, exist_ok=True)
                for file in SERVED:
                    self._fs.get_file(self._path(name, file), str(into / file))
            verify(into, name, digest)
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise

    def delete(self, name: str) -> None:
        """Remove the version; an unknown one is no error. Raises StoreUnavailable."""
        with self._using(name):
            for file in SERVED:  # the configuration goes first: from then on the version does not exist
                if self._fs.exists(self._path(name, file)):
                    self._fs.rm_file(self._path(name, file))
            if self._local is not None:
                shutil.rmtree(self._local / name, ignore_errors=True)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    @contextmanager
    def _using(self, name: str) -> Iterator[None]:
        _check_name(name)
        with _translated(f"the artifact store, for {name},"):
            yield


def verify(folder: Path, name: str, digest: str) -> None:
    """Check that ``folder`` holds the content that ``digest`` names. Raises ArtifactCorrupt."""
    try:
        found = digest_folder(folder)
    except (AdapterRejected, OSError) as error:
        raise ArtifactCorrupt(f"the files of {name} are damaged: {error}") from error
    if found != digest:
        raise ArtifactCorrupt(
            f"the files of {name} do not have the digest in its name; remove the version and add it again."
        )


class DiskCache:
    """The versions that this machine holds on its own disk, least recently used out first.

    Threads and processes may share one folder: each version is fetched once at a time, appears only when it is
    complete and checked, and never leaves while a process uses it.

    Args:
        root: the folder; made if it is not there.
        max_bytes: most bytes that it holds.
        store: where versions come from.
        keep: names of the versions in use now, which stay. A version must be among them before ``ensure`` returns it,
            and for as long as its files are needed. Called from any thread. May be set later (attribute ``keep``).

    Raises:
        StoreUnavailable: the folder cannot be made.
    """

    def __init__(
        self, root: Path, max_bytes: int, store: ArtifactStore, *, keep: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._store = store
        self.keep = keep
        self._verified: set[str] = set()
        self._in_use: dict[str, FileLock] = {}
        """Versions that this process protects from every process's eviction."""
        self._arriving: dict[str, int] = {}
        """Bytes that this process is fetching, by version."""
        self._mutex = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        with _translated(f"the adapter cache {root}"):
            for folder in (root, self._locks, self._incoming):
                folder.mkdir(parents=True, exist_ok=True)
            self._clean_up()

    def holds(self, name: str) -> bool:
        """Whether the version is on this disk."""
        return (self._root / name).is_dir()

    def ensure(self, version: AdapterVersion) -> Path:
        """The folder with the version's files; fetched first if need be. Blocks.

        Content is checked when it is fetched, and again the first time that a process uses what an earlier one left.

        Raises:
            ArtifactCorrupt: the stored files are not what the version's digest promises.
            StoreUnavailable: the store or the disk cannot be used, or everything in a full cache is in use.
        """
        _check_name(version.name)
        path = self._root / version.name
        with self._mutex:
            turn = self._turns.setdefault(version.name, threading.Lock())
        with turn, _translated(f"the adapter cache, for {version.name},"), self._lock(version.name).exclusive():
            self._release_unused()
            if not self._is_sound(version, path):
                self._fetch(version, path)
            self._verified.add(version.name)
            self._protect(version.name)
            now = time.time_ns()  # by itself the system marks time in steps of milliseconds
            os.utime(path, ns=(now, now))
        return path

    def close(self) -> None:
        """Give up this process's protection of what it used."""
        with self._mutex:
            for lock in self._in_use.values():
                lock.release()
            self._in_use.clear()

    @property
    def _locks(self) -> Path:
        return self._root / ".locks"

    @property
    def _incoming(self) -> Path:
        return self._root / ".incoming"

    def _lock(self, name: str) -> FileLock:
        return FileLock(self._locks / name)

    def _fetch(self, version: AdapterVersion, path: Path) -> None:
        arriving = self._incoming / version.name
        shutil.rmtree(arriving, ignore_errors=True)
        try:
            with self._lock(".room").exclusive():
                self._make_room(version)
                self._arriving[version.name] = version.size_bytes
            self._store.fetch(version.name, version.digest, arriving)
            arriving.rename(path)
        finally:
            self._arriving.pop(version.name, None)

    def _is_sound(self, version: AdapterVersion, path: Path) -> bool:
        if not path.is_dir():
            return False
        if version.name in self._verified:
            return True
        try:
            verify(path, version.name, version.digest)
        except ArtifactCorrupt:
            logger.warning("the cached files of %s are damaged; fetching them again", version.name)
            self._discard(path)
            return False
        return True

    def _protect(self, name: str) -> None:
        with self._mutex:
            if name not in self._in_use:
                lock = self._lock(f"{name}.use")
                lock.acquire(shared=True)
                self._in_use[name] = lock

    def _release_unused(self) -> None:
        """Stop protecting what this process no longer uses."""
        kept = set(self.keep())
        with self._mutex:
            for name in self._in_use.keys() - kept:
                self._in_use.pop(name).release()

    def _make_room(self, version: AdapterVersion) -> None:
        """Evict the least recently used versions until ``version`` fits. Raises StoreUnavailable."""
        sizes = {path: _size(path) for path in self._root.iterdir() if not path.name.startswith(".")}
        used = sum(sizes.values()) + sum(self._arriving.values())
        for path in sorted(sizes, key=lambda path: path.stat().st_mtime_ns):
            if used + version.size_bytes <= self._max_bytes:
                return
            if self._evict(path):
                used -= sizes[path]
        if used + version.size_bytes > self._max_bytes:
            raise StoreUnavailable(
                f"the adapter cache has no room for {version.name} ({version.size_bytes} bytes): {used} of "
                f"{self._max_bytes} bytes are in use; raise adapters.cache_bytes."
            )

    def _evict(self, path: Path) -> bool:
        """Remove a version that no process uses or fetches; False if one does."""
        with ExitStack() as stack:
            for lock in (self._lock(path.name), self._lock(f"{path.name}.use")):
                if not lock.try_acquire():
                    return False
                stack.callback(lock.release)
            self._verified.discard(path.name)
            self._discard(path)
        return True

    def _discard(self, path: Path) -> None:
        """Let a folder vanish at once, then delete what it held."""
        leaving = self._incoming / f"{path.name}.{uuid.uuid4().hex}.leaving"
        path.rename(leaving)
        shutil.rmtree(leaving, ignore_errors=True)

    def _clean_up(self) -> None:
        """Remove what processes that died left half-done."""
        for path in self._incoming.iterdir():
            lock = self._lock(path.name)
            if path.name.endswith(".leaving"):
                shutil.rmtree(path, ignore_errors=True)
            elif lock.try_acquire():
                shutil.rmtree(path, ignore_errors=True)
                lock.release()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an adapter version")


def _put_local(folder: Path, root: Path, name: str) -> None:
    arriving = root / f".incoming-{uuid.uuid4().hex}"
    arriving.mkdir(parents=True)
    try:
        for file in SERVED:
            shutil.copyfile(folder / file, arriving / file)
            _flush(arriving / file)
        try:
            arriving.rename(root / name)
        except OSError:
            # Another process may have stored the same content in the meantime; what a broken delete left may go.
            if not (root / name / CONFIG).exists():
                shutil.rmtree(root / name, ignore_errors=True)
                arriving.rename(root / name)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        # fsspec's file systems raise whatever their transports raise.
        problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StoreUnavailable(f"{what} cannot be used: {problem}") from error
