"""With the default settings, nothing of a prompt, a document or an answer is in a log line, a metric, a span or the
audit log."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.catalog import Catalog
from serving.engine.protocol import EngineFailed
from tests.api.harness import BASE, RunningGateway, config_of, run_gateway
from tests.api.knowledge import TASKS, MemoryKnowledge, passage
from tests.api.telling import logged, traces
from tests.embedding_server import embedding_app
from tests.knowledge_live import knowledge_config, live_with_memory_index, made, settled, uploaded
from tests.lifecycle import until
from tests.live import served
from tests.observing import InProcess

SECRET = "xylophone-4471"
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"


def chat(model: str, **extra: Any) -> dict[str, Any]:
    """A request that tells the secret."""
    return {"model": model, "messages": [{"role": "user", "content": f"My word is {SECRET}."}]} | extra


async def everything(gateway: RunningGateway, knowledge: MemoryKnowledge) -> list[int]:
    """Requests of every kind, those that go wrong among them; their statuses."""
    post, found = gateway.http.post, list[httpx.Response]()
    for stream in (False, True):
        found += [
            await post(CHAT, json=chat(model, stream=stream)) for model in ("help", "strict", "shaped", "support", BASE)
        ]
        found.append(await post(COMPLETIONS, json={"model": BASE, "prompt": SECRET, "stream": stream}))
        found.append(await post(RESPONSES, json={"model": BASE, "input": SECRET, "stream": stream}))
        gateway.engine.fail_next(EngineFailed(f"no answer to {SECRET}"))
        found.append(await post(CHAT, json=chat(BASE, stream=stream)))
        gateway.engine.fail_next(EngineFailed(f"no more of {SECRET}"), after=2)
        found.append(await post(CHAT, json=chat(BASE, stream=stream)))
    wrong = ({"model": SECRET}, chat(SECRET), chat(BASE, temperature=SECRET), chat(BASE, tools=SECRET))
    found += [await post(CHAT, json=body) for body in wrong]
    found.append(await post(CHAT, content=f'{{"model": "{SECRET}'.encode()))
    found.append(await post("/v1/feedback", json={"id": SECRET, "rating": "up", "comment": SECRET}))
    for error in (RuntimeError(SECRET), TimeoutError(SECRET), ValueError(SECRET)):
        knowledge.error = error
        found += [await post(CHAT, json=chat(model)) for model in ("help", "firm")]
    return [answer.status_code for answer in found]


@pytest.fixture
def knowledge() -> MemoryKnowledge:
    """Documents that tell the secret."""
    known = MemoryKnowledge()
    known.stores["policies"] = (passage(1, f"The word is {SECRET}. It is 7.", 0.9),)
    return known


async def test_generations_tell_nothing_of_their_texts(tmp_path: Path, knowledge: MemoryKnowledge) -> None:
    config = config_of(tasks=TASKS, knowledge={})
    with traces() as told, logged() as lines:
        async with run_gateway(config, tmp_path, knowledge, tracer=told.tracer) as gateway:
            gateway.engine.saying = f'Your word was {SECRET}, says "{SECRET}" [1] [9].'
            statuses = await everything(gateway, knowledge)
            await gateway.until_idle()
            await told.spans("POST /v1/chat/completions", "retrieval policies", "ground", f"chat {BASE}")
            metrics = (await gateway.http.get("/metrics")).text
        told.tracer.flush(10.0)
        spans = told.text()
    assert {200, 400, 404, 500, 503} <= set(statuses)
    assert len(lines) > len(statuses) / 2
    for place, text in (("a metric", metrics), ("a span", spans), ("the log", json.dumps(lines))):
        assert SECRET not in text, place


async def test_what_is_observed_of_generations_tells_nothing_of_their_texts(
    tmp_path: Path, knowledge: MemoryKnowledge
) -> None:
    monitoring = {"quality": {"logprobs": 2, "self_consistency": {"share": 1.0}}}
    state = {"url": f"sqlite:///{tmp_path}/state.db"}
    config = config_of(tasks=TASKS, knowledge={}, monitoring=monitoring, state=state)
    catalog = Catalog(config.state.url)
    catalog.migrate()
    catalog.close()
    with logged() as lines:
        async with run_gateway(config, tmp_path, knowledge, observing=InProcess(config)) as gateway:
            gateway.engine.saying = f'Your word was {SECRET}, says "{SECRET}" [1] [9].'
            await everything(gateway, knowledge)
            await gateway.until_idle()
            pipeline = gateway.pipeline
            assert pipeline is not None
            await pipeline.flush()
            pipeline._asked_at = -1000.0  # how things stand is told with the next message
            await pipeline.flush()
            metrics = (await gateway.http.get("/metrics")).text
    for expected in ('check="grounded"', "loraplex_quality_part_ratio", "loraplex_drift_window_requests"):
        assert expected in metrics
    for place, text in (("a metric", metrics), ("the log", json.dumps(lines))):
        assert SECRET not in text, place
    for path in tmp_path.glob("state.db*"):
        assert SECRET.encode() not in path.read_bytes(), path.name


async def test_the_secret_is_found_where_it_is_logged(tmp_path: Path) -> None:
    """The test above can fail: this is what it looks for."""
    with logged() as lines:
        async with run_gateway(config_of(tasks={"open": {"log_texts": True}}), tmp_path) as gateway:
            await gateway.http.post(CHAT, json=chat("open"))
            await until(lambda: any(line["logger"] == "serving.texts" for line in lines), "the texts")
    assert SECRET in json.dumps(lines)


async def test_documents_tell_nothing_in_log_metrics_and_audit_log(tmp_path: Path) -> None:
    async with served(embedding_app()) as embedder:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": f"{embedder}/v1", "model": "words"}})
        with logged() as lines:
            async with live_with_memory_index(config) as live, live.http() as client:
                good = await uploaded(client, f"{SECRET}.md", f"# {SECRET}\n\nThe word is {SECRET}.".encode())
                bad = await uploaded(client, f"{SECRET}.json", f'{{"{SECRET}"'.encode())
                store = await made(client, "vector_stores", {"name": "s", "file_ids": [good, bad]})
                counts = (await settled(client, store))["file_counts"]
                asked = {"query": SECRET, "filters": {"type": "eq", "key": SECRET, "value": SECRET}}
                statuses = [
                    (await client.post(f"vector_stores/{store}/search", json=body)).status_code
                    for body in ({"query": SECRET}, asked, asked | {"filters": {"type": SECRET}})
                ]
                metrics = (await client.get(f"{live.url}/metrics")).text
    assert counts["completed"] >= 1
    assert statuses[0] == 200
    audit = (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    assert "stores.create" in audit
    for place, text in (("a metric", metrics), ("the audit log", audit), ("the log", json.dumps(lines))):
        assert SECRET not in text, place
