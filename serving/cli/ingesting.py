"""Bringing a vector store to what its sources hold, over the API. Killed at any moment, the next run completes it."""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from retrieval.errors import DocumentUnreadable
from retrieval.filters import parse_attributes
from retrieval.sources import SourceFile, SourceProblem, read_path
from retrieval.types import AttributeValue
from serving.cli.client import SERVER_FAILED, UNREACHABLE, Failed
from serving.cli.orphans import Orphans
from serving.cli.stores import StoresClient, View, reason_of
from serving.knowledge.sync import SOURCE, Held, SyncPlan, sync_attributes
from serving.knowledge.types import document_meta

UPLOADS_IN_FLIGHT = 4
ATTACHED_AT_ONCE = 50
_MAGIC = frozenset("*?[")
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_PAUSES_S = (0.1, 0.4, 1.6)
"""Before what the gateway could not do is asked for again."""
_FINAL = ("invalid_api_key", "permission_denied", "vector_store_not_found")
"""What is refused to one file for this is refused to all."""

Result = TypeVar("Result")
Tell = Callable[[str, int, int | None], None]
"""Told of progress: what is done, how much of it, and out of how much where that is known."""


class Outcome(StrEnum):
    """What became of a file."""

    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be in the store."""

    sources: tuple[str, ...]
    """Files, folders, globs, URLs."""
    labels: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]
    max_bytes: int
    removes_gone: bool = False
    waits: bool = True


@dataclass(slots=True)
class Report:
    """What came of it. Files are named as the operator named them."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """File → reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    removed: int = 0
    passages: int = 0
    """Of what is new or updated."""

    def count(self, outcome: Outcome) -> int:
        """Files that fared so."""
        return sum(one is outcome for one in self.outcomes.values())

    def fail(self, path: str, reason: str) -> None:
        """Note a failure; a file that failed is nothing else."""
        self.outcomes.pop(path, None)
        self.failures[path] = " ".join(reason.split())


@dataclass(frozen=True, slots=True)
class _Uploaded:
    path: str
    file_id: str
    attributes: Mapping[str, AttributeValue]


class Ingest:
    """One run for one store. Used once.

    Args:
        store: as the API shows it.
    """

    def __init__(self, client: StoresClient, store: View, wanted: Wanted, tell: Tell) -> None:
        self._client = client
        self._store_id = str(store["id"])
        self._wanted = wanted
        self._tell = tell
        self._orphans = Orphans(client)
        self._origins: set[str] = set()
        self._claimed: dict[str, str] = {}
        self._in_flight: deque[tuple[str, Mapping[str, AttributeValue], Future[str]]] = deque()
        self._uploaded: list[_Uploaded] = []
        self._accepted: list[tuple[str, str]] = []
        self._documents: dict[str, View] = {}
        self.report = Report()

    def run(self) -> Report:
        """Do it.

        Raises:
            Failed: the gateway cannot be reached any more, or refuses the caller; what was done stays done.
        """
        # In the order of their making: of two of one source, the later is what counts.
        documents = self._client.documents(self._store_id)
        self._documents = {one["id"]: one for one in documents}
        held = [_held(one) for one in documents]
        gone: list[Held] = []
        pool = ThreadPoolExecutor(UPLOADS_IN_FLIGHT)
        try:
            for given in dict.fromkeys(self._wanted.sources):
                gone += self._take_source(given, held, pool)
            self._settle(leave=0)
        finally:
            pool.shutdown(cancel_futures=True)
        self._attach()
        if self._wanted.removes_gone:
            self._remove([one for one in gone if one.attributes[SOURCE] not in self._claimed])
        if self._wanted.waits:
            self._wait()
        return self.report

    def _take_source(self, given: str, held: Iterable[Held], pool: ThreadPoolExecutor) -> list[Held]:
        """Take in what one source holds; gives what it held before and does not any more."""
        origin, base, found = _read(given, self._wanted.max_bytes)
        if origin in self._origins:
            return []
        self._origins.add(origin)
        plan = SyncPlan.over(held, origin, self._claimed)
        for one in found:
            path = base + one.source.removeprefix("/")
            if isinstance(one, SourceFile):
                self._take(one, path, plan, pool)
            elif one.skipped:
                self.report.skipped[path] = one.reason
            else:
                plan.keep(one.source)
                self.report.fail(path, one.reason)
            self._tell("files read", len(self._claimed), None)
        return plan.gone()

    def _take(self, file: SourceFile, path: str, plan: SyncPlan, pool: ThreadPoolExecutor) -> None:
        if file.source in plan.taken:
            plan.keep(file.source)
            reason = f"`{file.source}` of {self._claimed[file.source]} has the same name; give the folder above both"
            self.report.fail(path, reason)
            return
        self._claimed[file.source] = plan.origin
        try:
            data = file.read()
        except DocumentUnreadable as error:
            plan.keep(file.source)
            self.report.fail(path, str(error))
            return
        digest = hashlib.sha256(data).hexdigest()
        attributes = sync_attributes(file.source, plan.origin, self._wanted.labels, self._wanted.attributes)
        held = plan.held.get(file.source)
        if plan.wants(file.source, digest, attributes) and (held is None or held.failed or held.sha256 != digest):
            self.report.outcomes[path] = Outcome.NEW if held is None else Outcome.UPDATED
            self._settle(leave=UPLOADS_IN_FLIGHT - 1)
            self._in_flight.append((path, attributes, pool.submit(self._upload, file.name, data, digest)))
        elif held is not None:
            self._keep(path, held, attributes)

    def _keep(self, path: str, held: Held, attributes: Mapping[str, AttributeValue]) -> None:
        """The content is there already."""
        self.report.outcomes[path] = Outcome.UNCHANGED
        if dict(held.attributes) != dict(attributes):
            self.report.outcomes[path] = Outcome.UPDATED
            try:
                _patiently(lambda: self._client.describe(self._store_id, held.file_id, attributes))
            except Failed as error:
                self._fail(path, error)
                return
        document = self._documents[held.file_id]
        if document["status"] == "failed":
            self.report.fail(path, reason_of(document))
        elif document["status"] == "in_progress":
            self._accepted.append((path, held.file_id))

    def _upload(self, name: str, data: bytes, digest: str) -> str:
        return _patiently(lambda: self._orphans.take(name, digest) or self._client.upload(name, data))

    def _settle(self, *, leave: int) -> None:
        """Wait until no more than ``leave`` uploads are in flight."""
        while len(self._in_flight) > leave:
            path, attributes, upload = self._in_flight.popleft()
            try:
                self._uploaded.append(_Uploaded(path, upload.result(), attributes))
            except Failed as error:
                self._fail(path, error)
            if len(self._uploaded) >= ATTACHED_AT_ONCE:
                self._attach()

    def _attach(self) -> None:
        """Put what is uploaded into the store; where one of them is refused, the others one by one."""
        several, self._uploaded = self._uploaded, []
        if not several:
            return
        try:
            _patiently(lambda: self._client.attach(self._store_id, [(one.file_id, one.attributes) for one in several]))
            self._accepted += [(one.path, one.file_id) for one in several]
        except Failed as error:
            if len(several) == 1 or error.exit_code == SERVER_FAILED:
                for one in several:
                    self._fail(one.path, error)
                return
            if _is_final(error):
                raise
            for one in several:
                self._uploaded = [one]
                self._attach()

    def _remove(self, gone: Sequence[Held]) -> None:
        _patiently(lambda: self._client.remove(self._store_id, [one.file_id for one in gone]))
        self.report.removed = len({one.attributes[SOURCE] for one in gone})

    def _wait(self) -> None:
        for done, (path, file_id) in enumerate(self._accepted):
            self._tell("documents ingested", done, len(self._accepted))
            document = self._ingested(file_id)
            if document is None:
                self.report.fail(path, "somebody took it out of the store meanwhile")
            elif document["status"] != "completed":
                self.report.fail(path, reason_of(document))
            elif self.report.outcomes.get(path) is not Outcome.UNCHANGED:
                self.report.passages += document["passages"]
        self._tell("documents ingested", len(self._accepted), len(self._accepted))

    def _ingested(self, file_id: str) -> View | None:
        """A document once it is completed or failed; None where it has left the store."""
        pause_s = _SHORTEST_PAUSE_S
        while True:
            document = _patiently(lambda: self._client.document(self._store_id, file_id))
            if document is None or document["status"] != "in_progress":
                return document
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _fail(self, path: str, error: Failed) -> None:
        if _is_final(error):
            raise error
        self.report.fail(path, str(error))


def check_attributes(wanted: Wanted) -> None:
    """Raises AttributesInvalid where no document could have these labels and attributes."""
    document_meta("", "", "", parse_attributes(sync_attributes("", "", wanted.labels, wanted.attributes)))


def _patiently(call: Callable[[], Result]) -> Result:
    """What ``call`` gives, though the gateway may fail a few times before. Raises Failed."""
    for pause_s in _PAUSES_S:
        try:
            return call()
        except Failed as error:
            if error.exit_code != SERVER_FAILED and error.code != "overloaded":
                raise
        time.sleep(pause_s)
    return call()


def _is_final(error: Failed) -> bool:
    return error.exit_code == UNREACHABLE or error.code in _FINAL


def _held(document: View) -> Held:
    error = document["last_error"] or {}
    may_pass = document["status"] == "cancelled" or error.get("code") == "server_error"
    return Held(document["id"], document["sha256"], document["attributes"], failed=may_pass)


def _read(given: str, max_bytes: int) -> tuple[str, str, Iterator[SourceFile | SourceProblem]]:
    """Where it comes from, what its files' names begin with for the operator, and what is in it."""
    if urlsplit(given).scheme in ("http", "https"):
        from retrieval.web_source import Unchanged, read_url

        page = read_url(given, max_bytes)
        # Not as it was given: the store's readers need not learn a password.
        return page.source, "", iter(() if isinstance(page, Unchanged) else (page,))
    path = Path(given).expanduser()
    origin = os.path.normpath(path.absolute()).encode("utf-8", "backslashreplace").decode()
    return origin, _base(path), read_path(path, max_bytes)


def _base(path: Path) -> str:
    """What the names of files are below, as the operator sees it."""
    if path.is_dir():
        base = path
    elif path.exists() or not _MAGIC.intersection(str(path)):
        base = path.parent
    else:
        base = Path(*takewhile(lambda part: not _MAGIC.intersection(part), path.parts))
    return "" if base == Path() else f"{str(base).rstrip('/')}/"
