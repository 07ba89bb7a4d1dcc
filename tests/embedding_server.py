"""An embeddings server for tests that start many services: the word embedder over OpenAI's API."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.live import listen
from tests.word_embedder import WordEmbedder


def embedding_app() -> Starlette:
    """``POST /v1/embeddings``, whatever the model's name."""
    embedder = WordEmbedder()

    async def embed(request: Request) -> JSONResponse:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = embedder.embed_documents(texts)
        data = [{"object": "embedding", "index": n, "embedding": row.tolist()} for n, row in enumerate(vectors)]
        return JSONResponse({"object": "list", "model": body["model"], "data": data})

    return Starlette(routes=[Route("/v1/embeddings", embed, methods=["POST"])])


@contextlib.contextmanager
def embedding_server() -> Iterator[str]:
    """The server in a thread of its own; gives the URL up to and with ``/v1``."""
    with listen() as listener:
        server = uvicorn.Server(uvicorn.Config(embedding_app(), lifespan="off", log_level="error", ws="none"))
        thread = threading.Thread(target=asyncio.run, args=[server.serve(sockets=[listener])], name="embeddings")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()
