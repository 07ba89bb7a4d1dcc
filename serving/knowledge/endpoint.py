"""``Knowledge``: all that a replica has of retrieval, which may live in another process."""

from typing import Protocol

from starlette.types import ASGIApp

from serving.knowledge.protocol import KnowledgeClient


class Knowledge(KnowledgeClient, Protocol):
    """Searches for generation, and answers the HTTP API besides."""

    @property
    def app(self) -> ASGIApp:
        """Answers ``/v1/files``, ``/v1/vector_stores``, ``/v1/embeddings`` and ``/v1/rerank``."""
        ...

    async def metrics_text(self) -> bytes:
        """What is measured there, in Prometheus' text format. Raises KnowledgeServerError."""
        ...
