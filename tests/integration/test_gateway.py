"""The whole gateway with real vLLM: the official SDK, OpenAI's schemas, swaps under traffic, spoiled adapters."""

import asyncio
import json
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from jsonschema import Draft202012Validator

from adapters.base_model import BaseModelSpec
from tests.adapter_factory import make_adapter
from tests.adapter_mutations import MUTATIONS
from tests.api.openai_schema import check, requires_description
from tests.conftest import AdapterFolder, unfinished
from tests.integration.conftest import ANSWER_SCHEMA, LiveGateway, eventually

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

USER: Any = {"role": "user", "content": "What is the capital of France?"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


async def _admin(live: LiveGateway, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=live.url, timeout=60) as client:
        return await client.post(f"/admin/v1/{path}", json=body or {})


async def _add(live: LiveGateway, name: str, folder: Path, *, promote: bool = True) -> str:
    answer = await _admin(live, "adapters", {"name": name, "source": str(folder), "promote": promote})
    assert answer.status_code == 201, answer.text
    version: str = answer.json()["version"]["name"]
    return version


@requires_description
@pytest.mark.parametrize(
    ("path", "schema", "body"),
    [
        ("chat/completions", "CreateChatCompletionResponse", {"messages": [USER], "max_tokens": 8}),
        ("chat/completions", "CreateChatCompletionResponse", {"messages": [USER], "n": 2, "seed": 3, "max_tokens": 4}),
        (
            "chat/completions",
            "CreateChatCompletionResponse",
            {"messages": [USER], "logprobs": True, "top_logprobs": 2, "max_tokens": 4},
        ),
        (
            "chat/completions",
            "CreateChatCompletionResponse",
            {
                "messages": [USER],
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
                "max_tokens": 32,
            },
        ),
        ("completions", "CreateCompletionResponse", {"prompt": "The capital of France is", "max_tokens": 4}),
        ("completions", "CreateCompletionResponse", {"prompt": ["One", "Two"], "logprobs": 1, "max_tokens": 2}),
        ("responses", "Response", {"input": "The capital of France?", "max_output_tokens": 8}),
    ],
    ids=["chat", "n", "logprobs", "forced tool", "completion", "two prompts", "response"],
)
async def test_answers_are_instances_of_openais_schemas(
    live: LiveGateway, path: str, schema: str, body: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=f"{live.url}/v1", timeout=60) as client:
        answer = await client.post(f"/{path}", json={"model": "smollm2", **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-loraplex-adapter"] == "base"
    check(schema, answer.json())


async def test_the_sdk_streams_the_same_text_that_it_gets_whole(live: LiveGateway) -> None:
    async with live.sdk() as client:
        whole = await client.chat.completions.create(model="smollm2", messages=[USER], temperature=0, max_tokens=16)
        text, usage = "", None
        async with await client.chat.completions.create(
            model="smollm2",
            messages=[USER],
            temperature=0,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            async for chunk in stream:
                usage = chunk.usage or usage
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert whole.usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)


async def test_a_streamed_response_is_the_response_that_its_last_event_holds(live: LiveGateway) -> None:
    async with live.sdk() as client:
        stream = await client.responses.create(model="smollm2", input="Say hello", max_output_tokens=8, stream=True)
        events = [event async for event in stream]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert deltas
    assert last.response.output_text == deltas


async def test_a_forced_tool_call_has_an_object_as_its_arguments(live: LiveGateway) -> None:
    async with live.sdk() as client:
        answer = await client.chat.completions.create(
            model="smollm2",
            messages=[USER],
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            temperature=0,
            max_tokens=64,
        )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert isinstance(calls[0], openai.types.chat.ChatCompletionMessageFunctionToolCall)
    assert isinstance(json.loads(calls[0].function.arguments), dict)


async def test_a_tasks_json_schema_is_kept(live: LiveGateway) -> None:
    async with live.sdk() as client:
        answer = await client.chat.completions.with_raw_response.create(model="labels", messages=[USER])
    content = answer.parse().choices[0].message.content
    Draft202012Validator(ANSWER_SCHEMA).validate(json.loads(content or ""))
    assert answer.headers.get("x-loraplex-contract") != "violated"


@pytest.mark.parametrize(
    ("task", "contract"), [("code", "[A-C][0-9]{3}"), ("colour", "red|green"), ("sum", r"1\+[2-4]=[0-9]")]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_tasks_regex_choice_or_grammar_is_kept(
    live: LiveGateway,
    task: str,
    contract: str,
    stream: bool,  # noqa: FBT001
) -> None:
    async with live.sdk() as client:
        if stream:
            pieces = await client.chat.completions.create(model=task, messages=[USER], stream=True)
            content = "".join([piece.choices[0].delta.content or "" async for piece in pieces if piece.choices])
        else:
            answer = await client.chat.completions.create(model=task, messages=[USER])
            content = answer.choices[0].message.content or ""
    assert re.fullmatch(contract, content)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_that_leaves_ends_its_generation(live: LiveGateway, stream: bool) -> None:  # noqa: FBT001
    body = {"model": "smollm2", "prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "stream": stream}

    async def running() -> int:
        return unfinished(live.engine)

    async with httpx.AsyncClient(base_url=f"{live.url}/v1", timeout=60) as client:
        request = asyncio.create_task(client.post("/completions", json=body))
        assert await eventually(running, 1) == 1
        request.cancel()
        await asyncio.wait([request])
    # 1,900 tokens would take far longer.
    assert await eventually(running, 0, within_s=3) == 0


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, openai.BadRequestError, None),
        (
            {"messages": [{"role": "user", "content": "word " * 4000}]},
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        ({"temperature": -3}, openai.BadRequestError, None),
        ({"extra_body": {"prompt_logprobs": 1}}, openai.BadRequestError, "unsupported_parameter"),
    ],
    ids=["unknown model", "unknown role", "too long", "bad temperature", "prompt logprobs"],
)
async def test_the_sdk_raises_its_own_errors(
    live: LiveGateway, body: dict[str, Any], error: type[openai.APIStatusError], code: str | None
) -> None:
    async with live.sdk() as client:
        with pytest.raises(error) as raised:
            await client.chat.completions.create(**({"model": "smollm2", "messages": [USER]} | body))
    assert raised.value.message
    if code is not None:
        assert raised.value.code == code


async def test_swaps_under_traffic_fail_nothing_and_leave_nothing(
    live: LiveGateway, adapter_folder: AdapterFolder
) -> None:
    first = await _add(live, "triage", adapter_folder(1))
    second = await _add(live, "triage", adapter_folder(2), promote=False)
    done = asyncio.Event()
    answers: dict[str, set[str]] = {}
    answered: Counter[str] = Counter()

    async def keep_asking(client: openai.AsyncOpenAI) -> None:
        while not done.is_set():
            answer = await client.chat.completions.create(
                model="support", messages=[USER], temperature=0, extra_body={"min_tokens": 8}
            )
            version = answer.system_fingerprint or ""
            answers.setdefault(version, set()).add(answer.choices[0].message.content or "")
            answered[version] += 1

    async def has_answered(version: str, times: int) -> bool:
        return answered[version] >= times

    async with live.sdk() as client:
        askers = [asyncio.create_task(keep_asking(client)) for _ in range(4)]
        for version in (second, first, second):
            times = answered[version] + 2
            answer = await _admin(live, "adapters/triage/promote", {"version": version})
            assert answer.status_code == 200, answer.text
            assert await eventually(partial(has_answered, version, times), wanted=True)
        done.set()
        await asyncio.gather(*askers)
    assert answers.keys() == {first, second}
    assert not answers[first] & answers[second], "the same text from both versions"
    assert await eventually(live.held, {second}) == {second}


async def test_no_spoiled_adapter_gets_in_and_the_running_one_is_not_disturbed(
    live: LiveGateway, base_checkpoint: Path, adapter_folder: AdapterFolder, tmp_path: Path
) -> None:
    running = await _add(live, "triage", adapter_folder(1))
    spec = BaseModelSpec.from_checkpoint(base_checkpoint, base_checkpoint.name)
    valid = make_adapter(tmp_path / "valid", spec, rank=8, seed=9)
    async with live.sdk() as client:
        before = await client.chat.completions.create(model="support", messages=[USER], temperature=0)
        for mutation in MUTATIONS:
            folder = tmp_path / "spoiled"
            shutil.copytree(valid, folder, symlinks=True)
            mutation.spoil(folder)
            answer = await _admin(live, "adapters", {"name": "spoiled", "source": str(folder), "promote": True})
            assert 400 <= answer.status_code < 500, (mutation.name, answer.text)
            error = answer.json()["error"]
            assert error["code"] == mutation.code, (mutation.name, error)
            shutil.rmtree(folder)
        after = await client.chat.completions.create(model="support", messages=[USER], temperature=0)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="spoiled", messages=[USER])
    assert len(MUTATIONS) >= 40
    assert before.system_fingerprint == after.system_fingerprint == running
    assert before.choices[0].message.content == after.choices[0].message.content
    assert await live.held() == {running}
