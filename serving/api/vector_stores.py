"""``/v1/vector_stores``. Who calls is known before it is reached."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from serving.api.files import Order, caller_of, list_view
from serving.api.vector_store_models import (
    AttachFile,
    CreateBatch,
    CreateStore,
    SearchStore,
    SetAttributes,
    UpdateStore,
    batch_view,
    document_view,
    result_view,
    store_view,
)
from serving.errors import InvalidRequest, ObjectNotFound
from serving.knowledge.editions import Edition
from serving.knowledge.joining import joined
from serving.knowledge.pages import Page
from serving.knowledge.protocol import SearchRequest, SearchResult, least_similarity
from serving.knowledge.shelves import Attachment, Shelves, attachment

Limit = Annotated[int, Query(ge=1, le=100)]
Status = Annotated[Literal["in_progress", "completed", "failed", "cancelled"] | None, Query(alias="filter")]
Search = Callable[[SearchRequest], SearchResult]
Texts = Callable[[str, str], list[str]]
"""The passages of a file in a store, in order."""


class VectorStoresApi:
    """The routes, over ``Shelves`` and a search."""

    def __init__(
        self,
        shelves: Shelves,
        search: Search,
        texts: Texts,
        sync: Callable[[str], bool],
        edition: Callable[[str, str], Edition | None],
    ) -> None:
        self._shelves = shelves
        self._edition = edition
        self._search = search
        self._texts = texts
        self._sync = sync

    def router(self) -> APIRouter:
        """All routes under ``/v1/vector_stores``."""
        router = APIRouter(prefix="/v1/vector_stores")
        one, batches = "/{store_id}", "/{store_id}/file_batches"
        file = f"{one}/files/{{file_id}}"
        for path, method, endpoint in (
            ("", "POST", self.create),
            ("", "GET", self.list_stores),
            (one, "GET", self.show),
            (one, "POST", self.update),
            (one, "DELETE", self.delete),
            (f"{one}/search", "POST", self.search),
            (f"{one}/sync", "POST", self.sync),
            (f"{one}/files", "POST", self.attach),
            (f"{one}/files", "GET", self.list_documents),
            (file, "GET", self.show_document),
            (file, "POST", self.set_attributes),
            (file, "DELETE", self.detach),
            (f"{file}/content", "GET", self.content),
            (f"{file}/passages", "GET", self.passages),
            (batches, "POST", self.create_batch),
            (f"{batches}/{{batch_id}}", "GET", self.show_batch),
            (f"{batches}/{{batch_id}}/cancel", "POST", self.cancel_batch),
            (f"{batches}/{{batch_id}}/files", "GET", self.list_batch),
        ):
            router.add_api_route(path, endpoint, methods=[method])
        return router

    def create(self, request: Request, body: CreateStore) -> dict[str, Any]:
        """A new vector store, with files in it if some are named."""
        caller = caller_of(request)
        days = None if body.expires_after is None else body.expires_after.days
        strategy = body.chunking_strategy
        files = [attachment(one, None, None if strategy is None else strategy.chunking) for one in body.file_ids]
        metadata = dict(body.metadata or {})
        if body.description is not None:
            metadata.setdefault("description", body.description)
        store = self._shelves.create(caller, body.name, metadata, expires_after_days=days)
        if files:
            try:
                self._shelves.attach(caller, store.record.id, files)
            except Exception:
                self._shelves.delete(caller, store.record.id)
                raise
        return store_view(self._shelves.store(caller, store.record.id))

    def list_stores(
        self,
        request: Request,
        after: str | None = None,
        before: str | None = None,
        order: Order = "desc",
        limit: Limit = 20,
    ) -> dict[str, Any]:
        """The vector stores that the caller may see."""
        caller = caller_of(request)
        records = self._shelves.stores(caller)
        if order == "desc":
            records.reverse()
        page = _part(records, after, before, limit)
        return list_view(
            [store_view(self._shelves.store(caller, record.id)) for record in page.entries], has_more=page.has_more
        )

    def show(self, request: Request, store_id: str) -> dict[str, Any]:
        """One vector store."""
        return store_view(self._shelves.store(caller_of(request), store_id))

    def update(self, request: Request, store_id: str, body: UpdateStore) -> dict[str, Any]:
        """Change its name, metadata or expiry; what is not named stays, what is null is taken away."""
        changes: dict[str, Any] = {}
        if body.name is not None:
            changes["name"] = body.name
        if "metadata" in body.model_fields_set:
            changes["metadata"] = body.metadata or {}
        if "expires_after" in body.model_fields_set:
            changes["expires_after_days"] = None if body.expires_after is None else body.expires_after.days
        return store_view(self._shelves.update(caller_of(request), store_id, changes))

    def delete(self, request: Request, store_id: str) -> dict[str, Any]:
        """Delete a vector store; its files stay."""
        self._shelves.delete(caller_of(request), store_id)
        return {"id": store_id, "object": "vector_store.deleted", "deleted": True}

    def search(
        self, request: Request, store_id: str, body: SearchStore, *, explain: Annotated[bool, Query()] = False
    ) -> dict[str, Any]:
        """The passages that answer a question, best first; `explain`: with the scores of every stage.

        Only administrators are told BM25, what each arm brought, and notes.
        """
        caller = caller_of(request)
        self._shelves.store(caller, store_id)
        if body.rewrite_query:
            raise InvalidRequest("Queries are searched as they are sent, not rewritten.", param="rewrite_query")
        results = [
            self._search(
                SearchRequest(
                    (store_id,),
                    query,
                    body.max_num_results,
                    caller.access,
                    body.filters,
                    least_similarity(body.ranking_options.score_threshold),
                    explain=explain and caller.admin,
                )
            )
            for query in body.queries
        ]
        found = joined([one.passages for one in results])[: body.max_num_results]
        view: dict[str, Any] = {
            "object": "vector_store.search_results.page",
            "search_query": body.queries,
            "data": [result_view(passage, explained=explain, raw=caller.admin) for passage in found],
            "has_more": False,
            "next_page": None,
        }
        if explain:
            superseded = (one for result in results for one in result.superseded)
            view["superseded"] = [result_view(one, explained=True, raw=caller.admin) for one in superseded]
            view["expired"] = sum(result.expired for result in results)
            view["seconds"] = [dict(result.seconds) for result in results]
        if explain and caller.admin:
            # BM25, and what failed inside, would tell of documents that are hidden.
            view["arms"] = [
                {name: [[one.file_id, one.number, one.score] for one in arm] for name, arm in result.arms.items()}
                for result in results
            ]
            view["notes"] = [note for result in results for note in result.notes]
        return view

    def sync(self, request: Request, store_id: str) -> dict[str, Any]:
        """Look at the sources of a store that the configuration keeps, now rather than at the next interval."""
        caller = caller_of(request)
        caller.require_writer()
        store = self._shelves.store(caller, store_id)
        if not (store.record.configured and self._sync(store.record.name)):
            raise InvalidRequest("The configuration names no sources for this vector store.", param="vector_store_id")
        return store_view(store)

    def attach(self, request: Request, store_id: str, body: AttachFile) -> dict[str, Any]:
        """Put a file into a vector store, to be ingested."""
        caller = caller_of(request)
        self._shelves.attach(caller, store_id, [_attachment(body)])
        return document_view(self._shelves.document(caller, store_id, body.file_id))

    def list_documents(
        self,
        request: Request,
        store_id: str,
        after: str | None = None,
        before: str | None = None,
        order: Order = "desc",
        limit: Limit = 20,
        status: Status = None,
    ) -> dict[str, Any]:
        """The files in a vector store that the caller may see."""
        return self._documents(request, store_id, after, before, order, limit, status, None)

    def show_document(self, request: Request, store_id: str, file_id: str) -> dict[str, Any]:
        """A file in a vector store."""
        return document_view(self._shelves.document(caller_of(request), store_id, file_id))

    def set_attributes(self, request: Request, store_id: str, file_id: str, body: SetAttributes) -> dict[str, Any]:
        """Describe a file in a vector store anew."""
        given = attachment(file_id, body.attributes, None)
        return document_view(self._shelves.set_attributes(caller_of(request), store_id, file_id, given.attributes))

    def detach(self, request: Request, store_id: str, file_id: str) -> dict[str, Any]:
        """Take a file out of a vector store; the file itself stays."""
        self._shelves.detach(caller_of(request), store_id, file_id)
        return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}

    def content(self, request: Request, store_id: str, file_id: str) -> dict[str, Any]:
        """The text of a file, as it is searched."""
        self._shelves.document(caller_of(request), store_id, file_id)
        data = [{"type": "text", "text": text} for text in self._texts(store_id, file_id)]
        return {
            "object": "vector_store.file_content.page",
            "data": data,
            "has_more": False,
            "next_page": None,
        }

    def passages(self, request: Request, store_id: str, file_id: str) -> dict[str, Any]:
        """The passages of a file with their vectors, for backups: the embedded index is open in one process alone."""
        caller = caller_of(request)
        caller.require_admin()
        self._shelves.document(caller, store_id, file_id)
        edition = self._edition(store_id, file_id)
        if edition is None:
            raise ObjectNotFound("No passages of this file are searched.", param="file_id")
        return edition.view()

    def create_batch(self, request: Request, store_id: str, body: CreateBatch) -> dict[str, Any]:
        """Put several files into a vector store."""
        wanted = [_attachment(one) for one in body.attachments]
        return batch_view(self._shelves.create_batch(caller_of(request), store_id, wanted))

    def show_batch(self, request: Request, store_id: str, batch_id: str) -> dict[str, Any]:
        """How a batch fares."""
        return batch_view(self._shelves.batch(caller_of(request), store_id, batch_id))

    def cancel_batch(self, request: Request, store_id: str, batch_id: str) -> dict[str, Any]:
        """Do not ingest what of a batch still waits."""
        return batch_view(self._shelves.cancel_batch(caller_of(request), store_id, batch_id))

    def list_batch(
        self,
        request: Request,
        store_id: str,
        batch_id: str,
        after: str | None = None,
        before: str | None = None,
        order: Order = "desc",
        limit: Limit = 20,
        status: Status = None,
    ) -> dict[str, Any]:
        """The files of a batch."""
        self._shelves.batch(caller_of(request), store_id, batch_id)
        return self._documents(request, store_id, after, before, order, limit, status, batch_id)

    def _documents(
        self,
        request: Request,
        store_id: str,
        after: str | None,
        before: str | None,
        order: str,
        limit: int,
        status: str | None,
        batch_id: str | None,
    ) -> dict[str, Any]:
        _not_both(after, before)
        backwards = before is not None
        page = self._shelves.documents(
            caller_of(request),
            store_id,
            after=before if backwards else after,
            ascending=(order == "asc") is not backwards,
            limit=limit,
            status=status,
            batch_id=batch_id,
        )
        entries = [document_view(record) for record in page.entries]
        return list_view(entries[::-1] if backwards else entries, has_more=page.has_more)


def _attachment(body: AttachFile) -> Attachment:
    strategy = body.chunking_strategy
    return attachment(body.file_id, body.attributes, None if strategy is None else strategy.chunking)


def _part(records: list[Any], after: str | None, before: str | None, limit: int) -> Page:
    _not_both(after, before)
    ids = [record.id for record in records]
    cursor = after or before
    if cursor is not None and cursor not in ids:
        raise ObjectNotFound(f"No such vector store: {cursor[:80]}", param="after" if after else "before")
    if before is not None:
        end = ids.index(before)
        return Page(records[max(end - limit, 0) : end], has_more=end > limit)
    start = 0 if after is None else ids.index(after) + 1
    return Page(records[start : start + limit], has_more=len(records) > start + limit)


def _not_both(after: str | None, before: str | None) -> None:
    if after is not None and before is not None:
        raise InvalidRequest("Give `after` or `before`, not both.", param="before")
