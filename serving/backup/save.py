"""Making a backup while the gateway serves.

The state is read first, in one transaction. All that it speaks of was stored before its record was, is named by its
content, and never changes, so it may be copied afterwards. What was deleted in between makes the state be read again.
"""

import hashlib
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from adapters.database import Database
from adapters.errors import ArtifactCorrupt
from adapters.layout import SERVED
from adapters.store import ArtifactStore
from serving.backup.errors import BackupInvalid
from serving.backup.job_folders import job_files
from serving.backup.manifest import FORMAT, AdapterCopy, IndexCopy, Manifest, TableCopy
from serving.backup.passages import EditionRef, PassageSource, write_edition
from serving.backup.side_by_side import side_by_side
from serving.backup.snapshot import Snapshot, StoredFile, take_snapshot
from serving.backup.vault import Vault
from serving.config import GatewayConfig
from serving.knowledge.blobs import Blobs
from serving.state import open_state
from serving.version import gateway_version

Say = Callable[[str], None]

_ROUNDS = 3
"""How often the state is read again because something was deleted while it was copied."""
_DAY_S = 86_400.0


class _Pieces:
    """What a backup is made of: stored where it is not there yet. Thread-safe."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._there = vault.pieces()
        self._lock = threading.Lock()
        self.used: dict[str, int] = {}
        self.added = 0
        """Bytes that had to be stored."""

    def have(self, wanted: Mapping[str, int]) -> bool:
        """Whether these pieces are there already, of these sizes in bytes; they are used then."""
        if any(self._there.get(name) != size for name, size in wanted.items()):
            return False
        with self._lock:
            self.used |= wanted
        return True

    def add(self, data: bytes) -> str:
        """The name of a piece with these bytes."""
        name = hashlib.sha256(data).hexdigest()
        if self._there.get(name) != len(data):
            self._vault.put(data, name)
            self._note(name, len(data))
        self.have({name: len(data)})
        return name

    def add_file(self, path: Path) -> str:
        """The same for a file that nobody changes. Raises OSError."""
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        if self._there.get(name) != size:
            self._vault.put_file(path, name)
            self._note(name, size)
        self.have({name: size})
        return name

    def require(self) -> None:
        """Look once more whether every piece is there. Raises BackupInvalid."""
        there = self._vault.pieces()
        lost = [name for name, size in self.used.items() if there.get(name) != size]
        if lost:
            raise BackupInvalid(
                f"{len(lost)} pieces of the backup vanished while it was made; two at once must not tidy one place: "
                "make it again."
            )

    def _note(self, name: str, size: int) -> None:
        with self._lock:
            self._there[name] = size
            self.added += size


class Backup:
    """One backup of the installation that ``config`` describes.

    Args:
        passages: where passages are read; None: they are left out, and embedded again after a restore.
        say: told what is done.
    """

    def __init__(self, config: GatewayConfig, vault: Vault, passages: PassageSource | None, say: Say) -> None:
        self._config = config
        self._vault = vault
        self._passages = passages
        self._say = say
        self._store = ArtifactStore(config.artifacts.url, config.artifacts.options)
        self._blobs = Blobs(config.artifacts)
        self._pieces = _Pieces(vault)
        self._earlier = newest(vault)

    @property
    def added(self) -> int:
        """Bytes that were not in the place of the backups yet."""
        return self._pieces.added

    def make(self) -> Manifest:
        """Make it; it is there on return.

        Raises:
            CatalogUnavailable, StoreUnavailable, IndexUnavailable, BackupError, OSError: there is no new backup.
        """
        with open_state(self._config.state.url) as database, tempfile.TemporaryDirectory() as scratch:
            known = set[str]()
            for _ in range(_ROUNDS):
                manifest, lost = self._copy(database, Path(scratch))
                if lost <= known:
                    break
                # Lost, or deleted since the state was read: what it says now tells which.
                known |= lost
                self._earlier = manifest
        self._pieces.require()
        self._vault.write_manifest(manifest.id, manifest.written())
        return manifest

    def _copy(self, database: Database, scratch: Path) -> tuple[Manifest, set[str]]:
        now = datetime.now(UTC)
        taken = take_snapshot(database, scratch)
        self._pieces.used.clear()
        self._say(f"Read the state: {sum(rows for _, rows in taken.tables.values())} rows")
        missing = list[str]()
        adapters = self._adapters(taken, scratch, missing)
        files = self._files(taken.files, missing)
        indexes = self._indexes(taken.editions)
        held = sum(len(one.editions) for one in indexes.values())
        manifest = Manifest(
            format=FORMAT,
            id=f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}",
            created_at=now.isoformat(timespec="seconds"),
            loraplex=gateway_version(),
            schemas=taken.schemas,
            tables={
                name: TableCopy(piece=self._pieces.add_file(path), rows=rows)
                for name, (path, rows) in taken.tables.items()
            },
            adapters=adapters,
            files=files,
            indexes=indexes,
            jobs=self._jobs(taken, scratch),
            missing=sorted(missing),
            to_embed=len(taken.editions) - held,
            pieces=dict(self._pieces.used),
        )
        lost = {*missing, *(f"{one.index}:{one.number}" for one in self._left_out(taken.editions, indexes))}
        return manifest, lost

    def _left_out(self, editions: Iterable[EditionRef], indexes: dict[str, IndexCopy]) -> Iterable[EditionRef]:
        if self._passages is None:
            return ()
        return (one for one in editions if one.index not in indexes or one.number not in indexes[one.index].editions)

    def _adapters(self, taken: Snapshot, scratch: Path, missing: list[str]) -> dict[str, AdapterCopy]:
        found: dict[str, AdapterCopy] = {}
        for name, digest in sorted(taken.adapters.items()):
            earlier = None if self._earlier is None else self._earlier.adapters.get(name)
            if earlier is not None and earlier.digest == digest and self._have_earlier(*earlier.files.values()):
                found[name] = earlier
                continue
            folder = scratch / "adapter"
            try:
                self._store.fetch(name, digest, folder)
            except ArtifactCorrupt as error:
                missing.append(f"adapter version {name}: {error}")
                continue
            found[name] = AdapterCopy(
                digest=digest, files={file: self._pieces.add_file(folder / file) for file in SERVED}
            )
            shutil.rmtree(folder)
        self._say(f"Copied {len(found)} adapter versions")
        return found

    def _files(self, files: list[StoredFile], missing: list[str]) -> dict[str, str]:
        def copy(file: StoredFile) -> str | None:
            if self._pieces.have({file.sha256: file.bytes}):
                return None
            data = self._blobs.get(file.id)
            if data is None:
                return f"file {file.id}: its bytes are gone from the artifact store"
            if hashlib.sha256(data).hexdigest() != file.sha256:
                return f"file {file.id}: its bytes in the artifact store are not those that were uploaded"
            self._pieces.add(data)
            return None

        problems = side_by_side(copy, files)
        missing += [problem for problem in problems if problem is not None]
        found = {file.id: file.sha256 for file, problem in zip(files, problems, strict=True) if problem is None}
        self._say(f"Copied {len(found)} files")
        return found

    def _indexes(self, editions: dict[EditionRef, int]) -> dict[str, IndexCopy]:
        source = self._passages
        if source is None:
            return {}
        earlier = {} if self._earlier is None else self._earlier.indexes

        def copy(ref: EditionRef) -> tuple[EditionRef, int, str, str] | None:
            old = earlier.get(ref.index)
            piece = None if old is None else old.editions.get(ref.number)
            if old is not None and piece is not None and self._have_earlier(piece):
                return ref, old.dimension, old.embedder, piece
            found = source.edition(ref)
            if found is None or len(found.passages) != editions[ref]:
                return None
            return ref, found.spec.dimension, found.spec.embedder, self._pieces.add(write_edition(found))

        indexes: dict[str, IndexCopy] = {}
        for copied in side_by_side(copy, sorted(editions, key=lambda ref: ref.number)):
            if copied is not None:
                ref, dimension, embedder, piece = copied
                made = IndexCopy(dimension=dimension, embedder=embedder, editions={})
                indexes.setdefault(ref.index, made).editions[ref.number] = piece
        self._say(f"Copied the passages of {sum(len(one.editions) for one in indexes.values())} documents")
        return indexes

    def _jobs(self, taken: Snapshot, scratch: Path) -> dict[str, dict[str, str]]:
        if self._config.training is None:
            return {}
        root, copy = self._config.training.folder, scratch / "of-a-job"
        found: dict[str, dict[str, str]] = {}
        for job, ended in sorted(taken.jobs.items()):
            if not (root / job).is_dir():
                continue
            found[job] = {}
            for name in job_files(root / job, ended=ended):
                with suppress(FileNotFoundError):  # folders of jobs that ended long ago are removed
                    shutil.copyfile(root / job / name, copy)
                    found[job][name] = self._pieces.add_file(copy)
        self._say(f"Copied the folders of {len(found)} fine-tuning jobs")
        return found

    def _have_earlier(self, *pieces: str) -> bool:
        """Whether pieces of an earlier backup are there still."""
        return self._earlier is not None and self._pieces.have({one: self._earlier.pieces[one] for one in pieces})


def newest(vault: Vault) -> Manifest | None:
    """The last backup that can be read. Raises VaultUnavailable."""
    for backup in reversed(vault.backups()):
        with suppress(BackupInvalid):
            return Manifest.read(vault.manifest(backup), backup)
    return None


def keep_newest(vault: Vault, count: int) -> list[str]:
    """Remove all but the newest ``count`` backups, and the pieces that no backup is made of. Ids of those removed.

    Raises:
        VaultUnavailable: the place cannot be read or written.
        BackupInvalid: a manifest is damaged, so that nobody knows which pieces it needs; nothing is removed.
    """
    there = vault.backups()
    gone, kept = there[:-count], there[-count:]
    used = {piece for backup in kept for piece in Manifest.read(vault.manifest(backup), backup).pieces}
    for backup in gone:
        vault.delete_manifest(backup)
    vault.tidy(used, _DAY_S)
    return gone
