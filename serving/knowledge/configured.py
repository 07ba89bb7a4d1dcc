"""Vector stores that the configuration keeps, and the sources that they follow."""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator

from adapters.errors import AdapterError
from retrieval.errors import AttributesInvalid, DocumentUnreadable, KnowledgeError
from retrieval.filters import parse_attributes
from retrieval.sources import SourceFile, SourceProblem, Validators, read_path
from retrieval.web_source import Unchanged, read_url
from serving.auth import Caller
from serving.config import KnowledgeSettings
from serving.errors import GatewayError
from serving.knowledge.document_records import Documents
from serving.knowledge.library import Library
from serving.knowledge.shelves import Attachment, Shelves
from serving.knowledge.store_records import Stores
from serving.knowledge.sync import ORIGIN, Held, SyncPlan, sync_attributes
from serving.knowledge.types import StoreRecord, document_meta, new_store
from serving.settings.knowledge import KnowledgeBaseSettings, SourceSettings

logger = logging.getLogger(__name__)

OWNER = Caller("configuration", frozenset({"*"}), admin=True)
"""Whose files these are."""


class ConfiguredBases:
    """Makes the stores, and looks at their sources in a thread of its own. Nothing is asked of callers.

    Raises:
        CatalogUnavailable: every method may.
    """

    def __init__(
        self,
        settings: KnowledgeSettings,
        stores: Stores,
        documents: Documents,
        shelves: Shelves,
        library: Library,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._documents = documents
        self._shelves = shelves
        self._library = library
        self._validators: dict[str, Validators] = {}
        self._digests: dict[tuple[str, str], tuple[int, float | None, str]] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._stopping = threading.Event()
        self._asked = threading.Condition()
        self._due: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="sources", daemon=True)

    def ensure(self) -> None:
        """Make the stores that are not there; let go of those that the configuration does not name any more."""
        there = {record.name: record for record in self._stores.all() if record.configured}
        for name in self._settings.bases.keys() - there.keys():
            self._stores.add(new_store(name, OWNER.name, int(time.time()), configured=True))
        for name in there.keys() - self._settings.bases.keys():
            self._stores.change(there[name].id, configured=False)

    def start(self) -> None:
        """Look at every source now, and then as often as its store says."""
        self._due = dict.fromkeys(self._settings.bases, time.monotonic())
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a file that is being read is abandoned."""
        self._stopping.set()
        with self._asked:
            self._asked.notify()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def sync_soon(self, name: str) -> bool:
        """Look at the sources of a store now. False where the configuration keeps none of that name."""
        if name not in self._settings.bases:
            return False
        with self._asked:
            self._due[name] = time.monotonic()
            self._asked.notify()
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
                base = self._settings.bases[name]
                again = base.sync_interval_s
                self._due[name] = float("inf") if again is None else time.monotonic() + again
                try:
                    self.sync(name, base)
                except (AdapterError, KnowledgeError, GatewayError) as error:
                    logger.warning("the sources of %s could not be synced: %s", name, error)
                except Exception:
                    logger.exception("the sources of %s could not be synced; trying again", name)
            with self._asked:
                wait_s = min(self._due.values(), default=float("inf")) - time.monotonic()
                self._asked.wait(min(max(wait_s, 0.0), 60.0))

    def sync(self, name: str, base: KnowledgeBaseSettings) -> None:
        """Take in what is new or changed, and take out what is gone."""
        store = next((one for one in self._stores.all() if one.configured and one.name == name), None)
        if store is None:
            return
        held = self._held(store)
        origins, taken = set(), set[str]()
        for source in base.sources:
            origin = str(source.url or source.path)
            origins.add(origin)
            plan = SyncPlan.over(held, origin, taken)
            self._sync_source(store, source, plan)
            taken |= plan.seen
            if self._stopping.is_set():
                return
        for one in held:
            if one.attributes.get(ORIGIN) not in origins and self._is_ours(one.file_id):
                self._library.forget(one.file_id)

    def _sync_source(self, store: StoreRecord, source: SourceSettings, plan: SyncPlan) -> None:
        for found in self._found(source):
            if self._stopping.is_set():
                return
            if isinstance(found, SourceProblem):
                self._note(found, plan)
            elif isinstance(found, Unchanged):
                plan.keep(found.source)
            else:
                self._take_in(store, found, source, plan)
        for one in plan.gone():
            if self._is_ours(one.file_id):
                self._library.forget(one.file_id)

    def _found(self, source: SourceSettings) -> Iterator[SourceFile | SourceProblem | Unchanged]:
        limit = self._settings.max_file_bytes
        if source.url is not None:
            page = read_url(source.url, limit, known=self._validators.get(source.url))
            if isinstance(page, SourceFile):
                self._validators[source.url] = page.validators
            yield page
        elif source.path is not None:
            yield from read_path(source.path, limit)

    def _note(self, problem: SourceProblem, plan: SyncPlan) -> None:
        if problem.skipped:
            return
        plan.keep(problem.source)
        if self._said.get((plan.origin, problem.source)) != problem.reason:
            self._said[plan.origin, problem.source] = problem.reason
            logger.warning("%s: %s: %s", plan.origin, problem.source or "it", problem.reason)

    def _take_in(self, store: StoreRecord, file: SourceFile, source: SourceSettings, plan: SyncPlan) -> None:
        if file.source in plan.taken:
            self._note(SourceProblem(file.source, "another source of this store has a file of this name"), plan)
            return
        attributes = sync_attributes(file.source, plan.origin, source.labels)
        try:
            document_meta("", file.name, "", parse_attributes(attributes))
        except AttributesInvalid as error:
            self._note(SourceProblem(file.source, str(error)), plan)
            return
        memo = self._digests.get((plan.origin, file.source))
        is_same = memo is not None and file.modified is not None and memo[:2] == (file.size, file.modified)
        if memo is not None and is_same and not plan.wants(file.source, memo[2], attributes):
            return
        try:
            data = file.read()
        except DocumentUnreadable as error:
            self._note(SourceProblem(file.source, str(error)), plan)
            return
        digest = hashlib.sha256(data).hexdigest()
        self._digests[plan.origin, file.source] = (file.size, file.modified, digest)
        if not plan.wants(file.source, digest, attributes):
            return
        old = plan.held.get(file.source)
        if old is None or old.sha256 != digest:
            record = self._library.upload(OWNER, file.name, data, "assistants")
            self._shelves.attach(OWNER, store.id, [Attachment(record.id, attributes)])
        elif old.failed:
            # That its bytes are missing may be why.
            self._library.restore(old.file_id, data)
            self._shelves.attach(OWNER, store.id, [Attachment(old.file_id, attributes)])
        else:
            self._shelves.set_attributes(OWNER, store.id, old.file_id, attributes)

    def _held(self, store: StoreRecord) -> list[Held]:
        return [
            Held(one.file_id, one.sha256, one.attributes, failed=one.error_code == "server_error")
            for one in self._documents.of_store(store.id)
        ]

    def _is_ours(self, file_id: str) -> bool:
        """Files that callers put into the store stay."""
        return self._library.file(OWNER, file_id).owner == OWNER.name
