"""Tasks with an output contract."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api.harness import ANSWER_SCHEMA, RunningGateway, config_of, run_gateway

TICKET: Any = [{"role": "user", "content": "the printer is on fire"}]
FREE: dict[str, Any] = {
    "engine": {"kind": "openai", "url": "http://127.0.0.1:9/v1"},
    "tasks": {
        "schema": {"output": {"json_schema": ANSWER_SCHEMA}},
        "yesno": {"output": {"choice": ["yes", "no"]}},
        "code": {"output": {"regex": "[A-Z]{3}-[0-9]{2}"}},
        "grammar": {"output": {"grammar": 'root ::= "left" | "right"'}},
    },
}
"""Another server than vLLM gets no `structured_outputs`, so that the fake engine answers as it likes."""


@pytest.mark.parametrize("task", ["labels", "yesno", "code", "grammar"])
async def test_an_answer_has_the_shape_and_says_so(gateway: RunningGateway, task: str) -> None:
    async with gateway.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model=task, messages=TICKET)
        assert raw.headers["x-loraplex-contract"] == "satisfied"
        choice = raw.parse().choices[0]
        assert choice.model_extra == {"loraplex_contract": "satisfied"}
        if task == "labels":
            assert set(json.loads(choice.message.content or "")) == {"label", "urgent"}
        stream = await sdk.chat.completions.create(model=task, messages=TICKET, stream=True)
        last = [chunk async for chunk in stream][-1].choices[0]
        assert last.finish_reason == "stop"
        assert last.model_extra is not None
        assert last.model_extra["loraplex_contract"] == "satisfied"
    assert gateway.total("loraplex_contract_violations_total") == 0


async def test_an_answer_cut_off_is_told_apart(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model="words", messages=TICKET, max_tokens=1)
    assert raw.headers["x-loraplex-contract"] == "violated"
    assert gateway.total("loraplex_contract_violations_total", reason="truncated", task="words") == 1
    assert gateway.total("loraplex_requests_total", outcome="contract_violated", task="words") == 1


async def test_an_engine_that_does_not_enforce_it_is_found_out(tmp_path: Path) -> None:
    async with run_gateway(config_of(**FREE), tmp_path) as gateway, gateway.sdk() as sdk:
        for task in ("yesno", "code", "grammar"):
            raw = await sdk.chat.completions.with_raw_response.create(model=task, messages=TICKET, n=2)
            assert raw.headers["x-loraplex-contract"] == "violated"
            stream = await sdk.chat.completions.create(model=task, messages=TICKET, stream=True)
            last = [chunk async for chunk in stream][-1].choices[0]
            assert last.model_extra is not None
            assert last.model_extra["loraplex_contract"] == "violated"
            response = await sdk.responses.create(model=task, input="the printer is on fire")
            assert (response.metadata or {})["loraplex_contract"] == "violated"
        assert gateway.total("loraplex_contract_violations_total", reason="mismatch") == 9
        assert all("structured_outputs" not in request.body for request in gateway.engine.requests)


async def test_a_schema_is_enforced_on_any_openai_server(tmp_path: Path) -> None:
    async with run_gateway(config_of(**FREE), tmp_path) as gateway, gateway.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model="schema", messages=TICKET)
        assert raw.headers["x-loraplex-contract"] == "satisfied"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_for_another_shape_is_refused(gateway: RunningGateway, *, stream: bool) -> None:
    async with gateway.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as refusal:
            await sdk.chat.completions.create(
                model="labels", messages=TICKET, stream=stream, response_format={"type": "json_object"}
            )
    assert refusal.value.param == "response_format"
    await gateway.until_idle()
    assert not gateway.engine.requests
    assert gateway.total("loraplex_requests_total", outcome="client_error", task="labels") == 1


async def test_a_request_for_the_same_shape_is_answered(gateway: RunningGateway) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "mine", "schema": ANSWER_SCHEMA, "strict": True}}
    async with gateway.sdk() as sdk:
        assert (await sdk.chat.completions.create(model="labels", messages=TICKET, response_format=form)).choices


async def test_a_task_without_a_contract_says_nothing_of_one(gateway: RunningGateway) -> None:
    async with gateway.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model="support", messages=TICKET)
    assert "x-loraplex-contract" not in raw.headers
    assert raw.parse().choices[0].model_extra == {}
