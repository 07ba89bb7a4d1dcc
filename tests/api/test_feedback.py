"""What callers say of answers."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from serving.engine.protocol import EngineFailed
from tests.living import Living, living

KEYS = [
    {"name": name, "hash": "sha256:" + hashlib.sha256(name.encode()).hexdigest(), **fields}
    for name, fields in (("root", {"admin": True}), ("ann", {}), ("bob", {}))
]


async def give(it: Living, **body: Any) -> httpx.Response:
    return await it.http.post("/v1/feedback", json=body)


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


async def test_every_kind_of_answer_can_be_judged_by_its_id(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        sdk = openai.AsyncOpenAI(base_url=str(it.http.base_url.join("/v1")), api_key="none", max_retries=0)
        async with sdk:
            whole = await sdk.chat.completions.create(model="labels", messages=[{"role": "user", "content": "hi"}])
            stream = await sdk.chat.completions.create(
                model="labels", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            chunks = [chunk async for chunk in stream]
            response = await sdk.responses.create(model="triage", input="hi")
            completion = await sdk.completions.create(model=version, prompt="hi")
        for id, model, role in (  # noqa: A001
            (whole.id, "labels", "stable"),
            (chunks[0].id, "labels", "stable"),
            (response.id, "triage", "stable"),
            (completion.id, "triage", "exact"),
        ):
            answer = await give(it, id=id, rating="up", comment="good")
            assert answer.status_code == 200, answer.text
            expected = {"object": "feedback", "id": id, "model": model, "version": version, "role": role}
            assert answer.json() == expected | {"score": 1.0, "comment": "good"}


async def test_an_answer_can_be_judged_by_its_requests_id_and_judged_again(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        await it.add(1, promote=True)
        asked = await it.ask()
        name = asked.headers["x-request-id"]
        assert (await give(it, request_id=name, rating="down")).json()["score"] == 0.0
        again = await give(it, request_id=name, score=0.75)
        assert (again.json()["score"], again.json()["comment"]) == (0.75, None)


async def test_nobody_judges_anothers_answer_but_an_administrator(tmp_path: Path) -> None:
    async with living(tmp_path, api_keys=KEYS) as it:
        it.http.headers.update(key("root"))
        await it.add(1, promote=True)
        body = {"model": "labels", "messages": [{"role": "user", "content": "hi"}]}
        asked = await it.http.post("/v1/chat/completions", json=body, headers=key("ann"))
        judged = {"id": asked.json()["id"], "rating": "up"}
        strangers = await it.http.post("/v1/feedback", json=judged, headers=key("bob"))
        assert strangers.status_code == 404
        assert strangers.json()["error"]["code"] == "not_found"
        assert (await it.http.post("/v1/feedback", json=judged, headers=key("nobody"))).status_code == 401
        for name in ("ann", "root"):
            assert (await it.http.post("/v1/feedback", json=judged, headers=key(name))).status_code == 200


async def test_what_no_adapter_answered_cannot_be_judged(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        await it.add(1, promote=True)
        base = it.config.model.public_name
        asked = await it.http.post(
            "/v1/chat/completions", json={"model": base, "messages": [{"role": "user", "content": "hi"}]}
        )
        assert (await give(it, id=asked.json()["id"], rating="up")).status_code == 404
        it.engine.fail_next(EngineFailed("stumbled"))
        failed = await it.ask()
        assert failed.status_code == 500
        assert (await give(it, request_id=failed.headers["x-request-id"], rating="up")).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rating": "up"}, "id"),
        ({"id": "a", "request_id": "b", "rating": "up"}, "id"),
        ({"id": 7, "rating": "up"}, "id"),
        ({"request_id": "", "rating": "up"}, "request_id"),
        ({"id": "a"}, "rating"),
        ({"id": "a", "rating": "up", "score": 1}, "rating"),
        ({"id": "a", "rating": "good"}, "rating"),
        ({"id": "a", "score": 1.5}, "score"),
        ({"id": "a", "score": True}, "score"),
        ({"id": "a", "score": "1"}, "score"),
        ({"id": "a", "score": 1, "comment": 7}, "comment"),
        ({"id": "a", "score": 1, "comment": "x" * 2001}, "comment"),
        ({"id": "a", "score": 1, "stars": 5}, "stars"),
        ({"id": "a\x00", "score": 1}, "id"),
        ({"id": "a", "score": 1, "comment": "\x00"}, "comment"),
    ],
)
def test_a_judgment_that_says_nothing_is_refused(body: dict[str, Any], param: str) -> None:
    from serving.api.feedback import read_feedback
    from serving.errors import InvalidRequest

    with pytest.raises(InvalidRequest) as refusal:
        read_feedback(body, 2000)
    assert refusal.value.param == param


async def test_a_gateway_without_feedback_says_so(tmp_path: Path) -> None:
    async with living(tmp_path, feedback={"enabled": False}) as it:
        answer = await give(it, id="a", rating="up")
        assert answer.status_code == 404
        assert "feedback.enabled" in answer.json()["error"]["message"]
