"""An embeddings server for tests that start many services: the word embedder over OpenAI's API."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.live import listen
from tests.word_embedder import WordEmbedder


class Holds:
    """Requests for some models are not answered beyond a number of them. Thread-safe."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._most: dict[str, int] = {}

    def after(self, model: str, requests: int) -> None:
        """Answer this many more requests for ``model``, and let all others wait."""
        self._most[model] = self.asked[model] + requests

    def release(self, model: str) -> None:
        """Answer all."""
        self._most.pop(model, None)

    def waiting(self, model: str) -> bool:
        """Whether a request waits."""
        return self.asked[model] > self._most.get(model, self.asked[model])

    async def pass_by(self, model: str) -> None:
        """Return once the request may be answered."""
        self.asked[model] += 1
        place = self.asked[model]
        while place > self._most.get(model, place):  # noqa: ASYNC110  (another thread says when)
            await asyncio.sleep(0.01)


def embedding_app(holds: Holds | None = None) -> Starlette:
    """``POST /v1/embeddings``, whatever the model's name."""
    embedder = WordEmbedder()

    async def embed(request: Request) -> JSONResponse:
        body = await request.json()
        if holds is not None:
            await holds.pass_by(body["model"])
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = embedder.embed_documents(texts)
        data = [{"object": "embedding", "index": n, "embedding": row.tolist()} for n, row in enumerate(vectors)]
        return JSONResponse({"object": "list", "model": body["model"], "data": data})

    return Starlette(routes=[Route("/v1/embeddings", embed, methods=["POST"])])


@contextlib.contextmanager
def embedding_server(holds: Holds | None = None) -> Iterator[str]:
    """The server in a thread of its own; gives the URL up to and with ``/v1``."""
    with listen() as listener:
        server = uvicorn.Server(_config(embedding_app(holds)))
        thread = threading.Thread(target=asyncio.run, args=[server.serve(sockets=[listener])], name="embeddings")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, lifespan="off", log_level="error", ws="none", timeout_graceful_shutdown=1)
