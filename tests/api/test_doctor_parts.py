"""``loraplex doctor`` from outside: knowledge and fine-tuning jobs. Each test breaks one thing."""

from contextlib import ExitStack
from pathlib import Path

from serving.doctor.finding import Level
from tests.doctoring import Answer, look, look_through, only
from tests.embedding_server import embedding_server
from tests.jobs_live import created, jobs_config, live_jobs, until_status
from tests.knowledge_live import knowledge_config, live_with_memory_index, made, settled, uploaded
from tests.living import living


async def test_knowledge_is_searched_and_what_is_wrong_with_it_is_told(tmp_path: Path) -> None:
    with embedding_server() as embedder:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embedder, "model": "words"}})
        async with live_with_memory_index(config) as it, it.http() as client:
            assert only(await look(it.url), "knowledge", Level.OK).message == "0 vector stores."
            store = await made(client, "vector_stores", {"name": "handbook"})
            for name, text in (("good.md", b"Refunds take thirty days."), ("bad.pdf", b"%PDF-1.7 and no more")):
                file = await uploaded(client, name, text)
                await client.post(f"vector_stores/{store}/files", json={"file_id": file})
                await settled(client, store)
                if name == "good.md":
                    found = only(await look(it.url), "knowledge", Level.OK)
                    assert found.message == "1 vector store, and a search in one is answered."
            found = only(await look(it.url), "knowledge", Level.WARN)
            assert found.message == "1 document of handbook could not be read."
            assert "loraplex knowledge show handbook --all" in found.next


async def test_knowledge_whose_embedder_is_gone_is_told(tmp_path: Path) -> None:
    with ExitStack() as embedders:
        embedder = embedders.enter_context(embedding_server())
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embedder, "model": "words"}})
        async with live_with_memory_index(config) as it, it.http() as client:
            store = await made(client, "vector_stores", {"name": "handbook"})
            file = await uploaded(client, "good.md", b"Refunds take thirty days.")
            await client.post(f"vector_stores/{store}/files", json={"file_id": file})
            await settled(client, store)
            embedders.close()
            finding = only(await look(it.url), "knowledge", Level.WARN)

    assert finding.message.startswith("handbook is searched, with less than it should be: searched by words alone: ")
    assert "knowledge.embedder" in finding.next


async def test_requests_that_found_retrieval_down_are_told(tmp_path: Path) -> None:
    def down(answer: Answer) -> None:
        answer.body += b'loraplex_retrievals_total{task="help",outcome="degraded"} 2\n'

    async with living(tmp_path / "without") as it:
        only(await look_through(it.gateway.app, "/metrics", down), "knowledge", Level.SKIP)
    with embedding_server() as embedder:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embedder, "model": "words"}})
        async with live_with_memory_index(config) as live:
            found = await look_through(live.app, "/metrics", down)

    assert only(found, "knowledge", Level.WARN).message.startswith("2 requests found retrieval down")


async def test_a_store_that_cannot_be_searched_is_a_fault(tmp_path: Path) -> None:
    with embedding_server() as embedder:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embedder, "model": "words"}})
        async with live_with_memory_index(config) as it, it.http() as client:
            store = await made(client, "vector_stores", {"name": "handbook"})
            file = await uploaded(client, "good.md", b"Refunds take thirty days.")
            await client.post(f"vector_stores/{store}/files", json={"file_id": file})
            await settled(client, store)

            def away(answer: Answer) -> None:
                answer.status = 503
                answer.body = b'{"error": {"message": "Milvus is gone.", "code": "index_unavailable"}}'

            path = f"/v1/vector_stores/{store}/search"
            finding = only(await look_through(it.app, path, away), "knowledge", Level.FAIL)

    assert finding.message == "handbook cannot be searched: Milvus is gone."


async def test_knowledge_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    def away(answer: Answer) -> None:
        answer.status = 503
        answer.body = b'{"error": {"message": "Milvus cannot be reached.", "code": "index_unavailable"}}'

    async with living(tmp_path) as it:
        finding = only(await look_through(it.gateway.app, "/v1/vector_stores", away), "knowledge", Level.FAIL)

    assert finding.message == "It does not answer (503): Milvus cannot be reached."
    assert "knowledge.index.uri" in finding.next


async def test_jobs_that_failed_or_stand_still_are_told(tmp_path: Path) -> None:
    async with live_jobs(jobs_config(tmp_path, api_keys=[]), tmp_path) as it, it.sdk() as client:
        assert only(await look(it.url), "jobs", Level.OK).message == "0 jobs lately, none of them stuck or failed."
        job = await created(client, refuse={"code": "invalid_training_file", "message": "There are no rows."})
        await until_status(client, job.id, "failed")
        finding = only(await look(it.url), "jobs", Level.WARN)
        assert finding.message == f"{job.id} failed: There are no rows."
        assert f"loraplex jobs events {job.id}" in finding.next
