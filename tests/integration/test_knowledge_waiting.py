"""Documents that cannot be ingested, for good or for now, hold up nobody else."""

import threading
from functools import partial
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retrieval.indexes.memory import MemoryIndexStore
from retrieval.indexes.protocol import Capabilities
from tests.integration.conftest import eventually
from tests.knowledge_live import knowledge_config, live_with_memory_index, settled
from tests.live import served
from tests.word_embedder import WordEmbedder


class FussyEmbedder:
    """Refuses texts with the word POISON, and cannot embed those with the word LATER for now."""

    def __init__(self) -> None:
        self.later = threading.Event()
        self.app = Starlette(routes=[Route("/v1/embeddings", self._embed, methods=["POST"])])

    async def _embed(self, request: Request) -> Response:
        texts = (await request.json())["input"]
        if any("POISON" in text for text in texts):
            return JSONResponse({"error": {"message": "too long"}}, status_code=400)
        if any("LATER" in text for text in texts) and not self.later.is_set():
            return Response(status_code=503)
        vectors = WordEmbedder().embed_documents(texts)
        data = [{"object": "embedding", "index": place, "embedding": row.tolist()} for place, row in enumerate(vectors)]
        return JSONResponse({"object": "list", "data": data})


async def test_a_document_that_waits_and_one_that_is_refused_let_the_others_pass(tmp_path: Path) -> None:
    embedder = FussyEmbedder()
    async with served(embedder.app) as url:
        knowledge = {"embedder": {"url": f"{url}/v1", "model": "fussy"}, "bases": {"desk": {}}}
        async with live_with_memory_index(knowledge_config(tmp_path, knowledge=knowledge)) as live, live.http() as http:
            store = (await http.get("vector_stores")).json()["data"][0]["id"]
            names = ("LATER", "POISON", "lantern", "kettle")
            files = {name: await _attach(http, store, f"{name} is here.") for name in names}

            async def status(name: str) -> str:
                found: str = (await http.get(f"vector_stores/{store}/files/{files[name]}")).json()["status"]
                return found

            for name in ("lantern", "kettle"):
                assert await eventually(partial(status, name), "completed") == "completed"
            assert await eventually(partial(status, "POISON"), "failed") == "failed"
            assert await status("LATER") == "in_progress"
            error = (await http.get(f"vector_stores/{store}/files/{files['POISON']}")).json()["last_error"]
            assert error["code"] == "invalid_file"
            assert "refuses the text with status 400" in error["message"]
            embedder.later.set()
            counts = (await settled(http, store))["file_counts"]
            assert (counts["completed"], counts["failed"]) == (3, 1)


async def _attach(http: httpx.AsyncClient, store: str, text: str) -> str:
    form = {"purpose": "assistants"}
    file = (await http.post("files", data=form, files={"file": ("a.txt", text.encode())})).raise_for_status().json()
    (await http.post(f"vector_stores/{store}/files", json={"file_id": file["id"]})).raise_for_status()
    found: str = file["id"]
    return found


class Small(MemoryIndexStore):
    """Is at ease with one passage."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(lexical=True, description="small", comfortable_passages=1)


async def test_a_store_that_has_outgrown_where_it_lives_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(FussyEmbedder().app) as url:
        knowledge = {"embedder": {"url": f"{url}/v1", "model": "fussy"}, "bases": {"desk": {}}}
        config = knowledge_config(tmp_path, knowledge=knowledge)
        async with live_with_memory_index(config, Small) as live, live.http() as http:
            store = (await http.get("vector_stores")).json()["data"][0]["id"]
            for text in ("lantern\n\n" * 600, "kettle\n\n" * 600):
                await _attach(http, store, text)
            await settled(http, store)
    told = [record.getMessage() for record in caplog.records if "knowledge.index.uri" in record.getMessage()]
    assert len(told) == 1
    assert "above 1 the embedded index takes long to open" in told[0]
