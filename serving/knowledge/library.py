"""What callers do with files: upload, read, delete, each only with what they may see."""

import hashlib
import logging
import time
import unicodedata
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress

from adapters.errors import StoreUnavailable
from serving.auth import Caller
from serving.errors import BodyTooLarge, InvalidRequest, ObjectNotFound
from serving.knowledge.blobs import Blobs
from serving.knowledge.document_records import Documents
from serving.knowledge.file_records import Files
from serving.knowledge.pages import Page
from serving.knowledge.store_records import Stores
from serving.knowledge.types import FileRecord
from serving.knowledge.views import Publisher

PURPOSES = ("assistants", "user_data", "fine-tune", "evals")
_LONGEST_NAME = 255
_AT_ONCE = 200
_TIDY_AFTER_S = 3600.0

logger = logging.getLogger(__name__)


class Library:
    """The uploaded files. Blocking, thread-safe.

    A file that is in vector stores is seen by whoever may see it in one of them; one that is in none, by the key that
    uploaded it. Administrators see all. What a caller may not see does not exist for it.
    """

    def __init__(
        self,
        files: Files,
        stores: Stores,
        documents: Documents,
        blobs: Blobs,
        publisher: Publisher,
        *,
        max_file_bytes: int,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._stores = stores
        self._documents = documents
        self._blobs = blobs
        self._publisher = publisher
        self._max_file_bytes = max_file_bytes
        self._changed = changed
        self._now = now

    def upload(
        self, caller: Caller, filename: str, data: bytes, purpose: str, expires_after_s: int | None = None
    ) -> FileRecord:
        """Take in a file; on return it is durable.

        Raises:
            PermissionDenied, BodyTooLarge, StoreUnavailable, CatalogUnavailable.
            InvalidRequest: the purpose is unknown.
        """
        caller.require_writer()
        if purpose not in PURPOSES:
            raise InvalidRequest(f"`purpose` must be one of {', '.join(PURPOSES)}.", param="purpose")
        if len(data) > self._max_file_bytes:
            raise BodyTooLarge(f"The file is larger than this gateway accepts ({self._max_file_bytes} bytes).")
        file_id = f"file-{uuid.uuid4().hex}"
        now = int(self._now())
        record = FileRecord(
            id=file_id,
            serial=0,
            filename=clean_filename(filename),
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            purpose=purpose,
            owner=caller.name,
            created_at=now,
            expires_at=None if expires_after_s is None else now + expires_after_s,
        )
        self._blobs.put(file_id, data)
        try:
            return self._files.add(record)
        except Exception:
            with suppress(StoreUnavailable):
                self._blobs.delete(file_id)
            raise

    def file(self, caller: Caller, file_id: str) -> FileRecord:
        """One file. Raises ObjectNotFound."""
        record = self._files.get(file_id)
        if record is None or not self._visible(caller, [record]):
            raise ObjectNotFound(f"No such File object: {file_id[:80]}", param="file_id")
        return record

    def page(self, caller: Caller, *, after: str | None, ascending: bool, limit: int, purpose: str | None) -> Page:
        """Files in order of arrival. Raises ObjectNotFound for an unknown ``after``."""
        place = None if after is None else self.file(caller, after).serial
        found: list[FileRecord] = []
        while len(found) <= limit:
            part = self._files.page(after=place, ascending=ascending, limit=_AT_ONCE, purpose=purpose)
            found += self._visible(caller, part)
            if len(part) < _AT_ONCE:
                break
            place = part[-1].serial
        return Page(found[:limit], has_more=len(found) > limit)

    def content(self, caller: Caller, file_id: str) -> tuple[FileRecord, bytes]:
        """A file and its bytes. Raises ObjectNotFound."""
        record = self.file(caller, file_id)
        data = self._blobs.get(record.id)
        if data is None:
            raise ObjectNotFound(f"The content of {record.id} is gone.", param="file_id")
        return record, data

    def restore(self, file_id: str, data: bytes) -> None:
        """Put a file's own bytes in their place again. Raises StoreUnavailable."""
        self._blobs.put(file_id, data)

    def delete(self, caller: Caller, file_id: str) -> None:
        """Delete a file and take it out of every store. Raises PermissionDenied, ObjectNotFound.

        One that is also where the caller may not see it stays there, and is gone for the caller.
        """
        caller.require_writer()
        record = self.file(caller, file_id)
        visible, hidden = self._places(caller, record.id)
        if not hidden:
            self.forget(record.id)
            return
        for store_id in visible:
            with self._publisher.changing(store_id):
                self._documents.detach(store_id, record.id)
                self._publisher.document(store_id, record.id)
        self._changed()

    def forget(self, file_id: str) -> None:
        """The same, whoever asks."""
        places = self._files.attachments([file_id]).get(file_id, [])
        with ExitStack() as changes:
            for store_id, _ in places:
                changes.enter_context(self._publisher.changing(store_id))
            self._files.delete(file_id)
            for store_id, _ in places:
                self._publisher.document(store_id, file_id)
        self._blobs.delete(file_id)
        self._changed()

    def discard(self, file_id: str) -> None:
        """Delete a file unless it is in a store."""
        if not self._files.attachments([file_id]):
            self.forget(file_id)

    def expire(self) -> None:
        """Delete the files whose time is over."""
        for file_id in self._files.expired(int(self._now())):
            self.forget(file_id)

    def tidy(self) -> None:
        """Delete bytes without a record: of uploads that broke off, and of files whose bytes could not be deleted."""
        # A younger one may be of an upload that is about to write its record.
        old = [name for name, age_s in self._blobs.entries() if age_s > _TIDY_AFTER_S]
        known = self._files.known(old)
        for name in old:
            if name not in known:
                logger.info("%s has no record and is deleted", name)
                self._blobs.delete(name)

    def _places(self, caller: Caller, file_id: str) -> tuple[list[str], list[str]]:
        """The stores in which a caller sees a file, and the others that have it."""
        labels = {store.id: store.labels for store in self._stores.all()}
        visible: list[str] = []
        hidden: list[str] = []
        for store_id, own in self._files.attachments([file_id]).get(file_id, []):
            # A store may have been made since they were read.
            seen = store_id in labels and caller.access.allows(own) and caller.access.allows(labels[store_id])
            (visible if seen or caller.access.everything else hidden).append(store_id)
        return visible, hidden

    def _visible(self, caller: Caller, records: list[FileRecord]) -> list[FileRecord]:
        access = caller.access
        if access.everything:
            return records
        places = self._files.attachments([record.id for record in records])
        stores = {store.id: store.labels for store in self._stores.all()} if places else {}

        def visible(record: FileRecord) -> bool:
            attached = places.get(record.id)
            if attached is None:
                return record.owner == caller.name
            # A store may have been deleted since its documents were read.
            return any(
                store in stores and access.allows(labels) and access.allows(stores[store]) for store, labels in attached
            )

        return [record for record in records if visible(record)]


def clean_filename(name: str) -> str:
    """A name without folders and control characters: it is shown, and its suffix tells the kind; it opens nothing."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    if shown in ("", ".", ".."):
        return "unnamed"
    stem, dot, suffix = shown.rpartition(".")
    if len(shown) > _LONGEST_NAME and dot and len(suffix) < _LONGEST_NAME // 4:
        return f"{stem[: _LONGEST_NAME - len(suffix) - 1]}.{suffix}"
    return shown[:_LONGEST_NAME]
