"""Passages from a gateway's vector store, over the OpenAI API."""

import time
from typing import Any, Protocol, Self
from urllib.parse import quote

import httpx

from training.diagnosis.types import Retrieval
from training.errors import SearchFailed

LONGEST_QUESTION = 4000
"""Characters: what the gateway takes. Of a longer question the end is searched, where the user asks."""

_TIMEOUT_S = 60.0
_PAGE = 100


class Searcher(Protocol):
    """Finds passages for a question."""

    async def search(self, question: str) -> Retrieval:
        """The passages, best first. Raises SearchFailed."""
        ...


class VectorStoreSearcher:
    """``POST /v1/vector_stores/{id}/search`` with everything as the store has it. An async context manager."""

    def __init__(
        self, base_url: str, api_key: str | None, store: str, *, top: int, threshold: float | None = None
    ) -> None:
        """A store by name or id.

        Args:
            base_url: the gateway's address with ``/v1``.
            top: the most passages that are given to a question, as production gives.
            threshold: the least cosine of a passage; None: the store's own.
        """
        headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._client = httpx.AsyncClient(base_url=base_url.rstrip("/") + "/", headers=headers, timeout=_TIMEOUT_S)
        self._name = store
        self._id: str | None = None
        self._top = top
        self._threshold = threshold

    async def __aenter__(self) -> Self:
        """Find the store. Raises SearchFailed."""
        try:
            self._id = await self._resolve()
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def search(self, question: str) -> Retrieval:
        """See Searcher. A question without text finds nothing."""
        if not (query := question.strip()[-LONGEST_QUESTION:].strip()):
            return Retrieval((), 0.0)
        body: dict[str, Any] = {"query": query, "max_num_results": self._top}
        if self._threshold is not None:
            body["ranking_options"] = {"score_threshold": self._threshold}
        began = time.perf_counter()
        found = await self._call("POST", f"vector_stores/{quote(self._id or self._name, safe='')}/search", body)
        seconds = time.perf_counter() - began
        try:
            texts = ["\n".join(part["text"] for part in one["content"]) for one in found["data"]]
        except (KeyError, TypeError) as error:
            raise SearchFailed(f"the vector store {self._name} answered what is no search result: {error!r}") from error
        return Retrieval(tuple(texts), seconds)

    async def _resolve(self) -> str:
        """The id of the store that has this id or name; those that the caller may not see do not exist."""
        query = f"vector_stores?limit={_PAGE}&order=asc"
        after = ""
        named: list[str] = []
        while True:
            page = await self._call("GET", query + after)
            for one in page["data"]:
                if one["id"] == self._name:
                    return self._name
                if one.get("name") == self._name:
                    named.append(str(one["id"]))
            if not page.get("has_more") or not page["data"]:
                break
            after = f"&after={quote(page['data'][-1]['id'], safe='')}"
        if len(named) != 1:
            count = f"{len(named)} vector stores have the name" if named else "there is no vector store"
            raise SearchFailed(f"{count} {self._name!r}")
        return named[0]

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise SearchFailed(f"no answer from {self._client.base_url}{path}: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise SearchFailed(f"{path} answered {answer.status_code}: {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError as error:
            raise SearchFailed(f"{path} answered what is not JSON") from error
