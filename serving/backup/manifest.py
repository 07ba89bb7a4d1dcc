"""What a backup says of itself. It is written last: without it there is no backup."""

import hashlib
import json
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.backup.errors import BackupInvalid

FORMAT = 1
"""Raised when an older Loraplex could not read what a newer one writes."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableCopy(_Part):
    """The rows of one table."""

    piece: str
    rows: int


class AdapterCopy(_Part):
    """The files of one adapter version."""

    digest: str
    files: dict[str, str]
    """Piece of each file."""


class IndexCopy(_Part):
    """The passages of one index, with their vectors."""

    dimension: int
    embedder: str
    """Fingerprint of the model that made the vectors."""
    editions: dict[int, str]
    """Piece of each edition of a document."""


class Manifest(_Part):
    """One backup. Pieces are named by the SHA-256 of their bytes."""

    format: int
    id: str
    created_at: str
    """When the state was read: ISO 8601, UTC."""
    loraplex: str
    """The version that made it."""
    schemas: dict[str, str]
    """Revision of each part of the state."""
    tables: dict[str, TableCopy]
    adapters: dict[str, AdapterCopy]
    files: dict[str, str]
    """Piece of each uploaded file, by its id."""
    indexes: dict[str, IndexCopy]
    jobs: dict[str, dict[str, str]]
    """Pieces of the files in each fine-tuning job's folder."""
    missing: list[str]
    """What the installation itself had lost."""
    to_embed: int
    """Documents whose passages are not in it: they are read and embedded again from their files."""
    pieces: dict[str, int]
    """Size of every piece, in bytes."""

    def written(self) -> bytes:
        """The bytes of the manifest, with their own digest."""
        body = self.model_dump(mode="json")
        return json.dumps({"sha256": _digest(body), "backup": body}, indent=1, sort_keys=True).encode()

    @classmethod
    def read(cls, data: bytes, name: str) -> Self:
        """What :meth:`written` wrote. Raises BackupInvalid."""
        try:
            whole = json.loads(data)
            body, digest = whole["backup"], whole["sha256"]
            made_by, form = str(body["loraplex"]), int(body["format"])
        except (ValueError, KeyError, TypeError):
            raise BackupInvalid(f"the manifest of the backup {name} is damaged; restore another one.") from None
        if form > FORMAT:
            raise BackupInvalid(
                f"the backup {name} was made by Loraplex {made_by} in a newer form (format {form}, this Loraplex reads "
                f"up to {FORMAT}); restore it with that version."
            )
        try:
            if digest != _digest(body):
                raise ValueError
            return cls.model_validate(body)
        except (ValueError, ValidationError):
            raise BackupInvalid(f"the manifest of the backup {name} was altered; restore another one.") from None


def _digest(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
