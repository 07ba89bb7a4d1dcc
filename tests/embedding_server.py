"""An OpenAI-compatible ``/v1/embeddings`` without a model."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.word_embedder import WordEmbedder


def embedding_app() -> ASGIApp:
    """Texts that share words are near each other."""
    return Starlette(routes=[Route("/v1/embeddings", _embed, methods=["POST"])])


async def _embed(request: Request) -> Response:
    vectors = WordEmbedder().embed_documents((await request.json())["input"])
    rows = [{"object": "embedding", "index": index, "embedding": row.tolist()} for index, row in enumerate(vectors)]
    # Clients keep no connection: what uses this embedder has no end at which it would close one.
    return JSONResponse({"object": "list", "data": rows}, headers={"connection": "close"})
