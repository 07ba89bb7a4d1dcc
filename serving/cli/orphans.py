"""Files that an interrupted run uploaded and put into no store."""

import threading
from collections.abc import Iterable

from serving.cli.stores import StoresClient


class Orphans:
    """Gives each of them away once. Looked for when they are first asked for. Thread-safe."""

    def __init__(self, client: StoresClient) -> None:
        self._client = client
        self._looking = threading.Lock()
        self._files: dict[tuple[str, str], list[str]] | None = None
        self._held: frozenset[str] | None = None

    def take(self, filename: str, sha256: str) -> str | None:
        """The id of one with this name and content. Raises Failed."""
        with self._looking:
            if self._files is None:
                self._files = {}
                for file in self._client.files():
                    self._files.setdefault((file["filename"], file["sha256"]), []).append(file["id"])
            alike = self._files.get((filename, sha256), [])
            while alike:
                file_id = alike.pop()
                if file_id not in self._in_stores():
                    return file_id
            return None

    def _in_stores(self) -> frozenset[str]:
        if self._held is None:
            stores: Iterable[str] = (store["id"] for store in self._client.stores())
            self._held = frozenset(one["id"] for store in stores for one in self._client.documents(store))
        return self._held
