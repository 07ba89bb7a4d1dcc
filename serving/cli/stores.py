"""Files and vector stores of a gateway, for the command line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from serving.cli.client import REFUSED, ApiClient, Failed, path_part

View = dict[str, Any]
Attributes = Mapping[str, str | float | bool]

_PAGE = "100"
_FILES_PAGE = "10000"
_RESTARTS = 5
_GONE = ("not_found", "vector_store_not_found")


class StoresClient:
    """Calls ``/v1/files`` and ``/v1/vector_stores``. Thread-safe. Every method raises Failed."""

    def __init__(self, url: str) -> None:
        self._api = ApiClient(url, "/v1")

    def stores(self) -> list[View]:
        """Every store that the caller may see, the oldest first."""
        return self._all("/vector_stores", {"limit": _PAGE, "order": "asc"})

    def named(self, name: str) -> View | None:
        """The store of that id or name; None where there is none."""
        stores = self.stores()
        found = [one for one in stores if one["id"] == name] or [one for one in stores if one["name"] == name]
        if len(found) > 1:
            raise Failed(REFUSED, "ambiguous_store", f"{len(found)} vector stores have the name `{name}`.")
        return found[0] if found else None

    def store(self, name: str) -> View:
        """The same; one that is not there is an error."""
        found = self.named(name)
        if found is None:
            raise Failed(REFUSED, "vector_store_not_found", f"There is no vector store `{name}`.")
        return found

    def create(self, name: str) -> View:
        """A new store."""
        return dict(self._api.post("/vector_stores", {"name": name}))

    def delete(self, store_id: str) -> View:
        """Delete a store; its files stay."""
        return dict(self._api.delete(_store(store_id)))

    def sync(self, store_id: str) -> View:
        """Have the gateway look at the sources of a store now."""
        return dict(self._api.post(f"{_store(store_id)}/sync"))

    def documents(self, store_id: str, status: str | None = None) -> list[View]:
        """Every document of a store, the oldest first."""
        query = {"limit": _PAGE, "order": "asc"} | ({"filter": status} if status else {})
        return self._all(f"{_store(store_id)}/files", query)

    def latest(self, store_id: str, limit: int, status: str | None = None) -> list[View]:
        """Up to 100 documents of a store, the newest first."""
        query = {"limit": str(limit)} | ({"filter": status} if status else {})
        return list(self._api.get(f"{_store(store_id)}/files", query)["data"])

    def document(self, store_id: str, file_id: str) -> View | None:
        """One document of a store; None where it is not there."""
        try:
            return dict(self._api.get(_document(store_id, file_id)))
        except Failed as error:
            if error.code not in _GONE:
                raise
            return None

    def upload(self, filename: str, data: bytes) -> str:
        """The id of a new file."""
        return str(self._api.upload("/files", filename, data, {"purpose": "assistants"})["id"])

    def files(self) -> list[View]:
        """Every file that the caller may see and that a store may hold."""
        return self._all("/files", {"limit": _FILES_PAGE, "order": "asc", "purpose": "assistants"})

    def attach(self, store_id: str, files: Sequence[tuple[str, Attributes]]) -> None:
        """Put files into a store, all or none."""
        body = [{"file_id": file_id, "attributes": dict(attributes)} for file_id, attributes in files]
        self._api.post(f"{_store(store_id)}/file_batches", {"files": body})

    def describe(self, store_id: str, file_id: str, attributes: Attributes) -> None:
        """Give a document of a store other attributes."""
        self._api.post(_document(store_id, file_id), {"attributes": dict(attributes)})

    def remove(self, store_id: str, file_ids: Sequence[str]) -> None:
        """Take documents out of a store, and delete the files of those that no other store holds, as far as the caller
        sees."""
        others = [store["id"] for store in self.stores() if store["id"] != store_id] if file_ids else []
        for file_id in file_ids:
            if any(self.document(other, file_id) for other in others):
                with _unless_gone():
                    self._api.delete(_document(store_id, file_id))
            else:
                # It leaves the store with its file: no kill in between can leave a file that nothing points at.
                self.delete_file(file_id)

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone is no error."""
        with _unless_gone():
            self._api.delete(f"/files/{path_part(file_id)}")

    def search(self, store_id: str, question: str, top: int, filters: Any = None, *, explain: bool = False) -> View:
        """The passages that answer a question."""
        body = {"query": question, "max_num_results": top} | ({"filters": filters} if filters is not None else {})
        return dict(self._api.post(f"{_store(store_id)}/search" + ("?explain=true" if explain else ""), body))

    def _all(self, path: str, query: Mapping[str, str]) -> list[View]:
        for left in reversed(range(_RESTARTS)):
            try:
                return [entry for page in self._pages(path, query) for entry in page]
            except Failed as error:
                # What the next page was to begin behind may leave in between.
                if error.code != "not_found" or not left:
                    raise
        return []

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[list[View]]:
        after: dict[str, str] = {}
        while True:
            page = self._api.get(path, {**query, **after})
            yield page["data"]
            if not page["has_more"] or not page["data"]:
                return
            after = {"after": page["data"][-1]["id"]}


def source_of(document: View) -> str:
    """What a document is called: where it came from, or its file's name."""
    return str(document["attributes"].get("source") or document["filename"])


def reason_of(document: View) -> str:
    """Why a document could not be ingested, in one line."""
    error = document["last_error"] or {}
    return " ".join(str(error.get("message") or document["status"]).split())


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except Failed as error:
        if error.code not in _GONE:
            raise


def _store(store_id: str) -> str:
    return f"/vector_stores/{path_part(store_id)}"


def _document(store_id: str, file_id: str) -> str:
    return f"{_store(store_id)}/files/{path_part(file_id)}"
