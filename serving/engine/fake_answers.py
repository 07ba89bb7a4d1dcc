"""The fake engine's answers in OpenAI's shapes: whole, and as the objects of a stream."""

from collections.abc import Iterator
from typing import Any

from serving.engine.fake_plan import FakeChoice, FakePlan, tokens_of
from serving.engine.protocol import Endpoint, JsonObject

CREATED = 1_700_000_000
"""The fake engine's clock stands still, in seconds since the epoch."""


def whole_answer(plan: FakePlan) -> JsonObject:
    """The answer in one object."""
    if plan.request.endpoint is Endpoint.CHAT:
        return _head(plan, "chat.completion") | {
            "choices": [_chat_choice(plan, choice) for choice in plan.choices],
            "usage": plan.usage(),
        }
    if plan.request.endpoint is Endpoint.COMPLETIONS:
        return _head(plan, "text_completion") | {
            "choices": [_completion_choice(plan, choice) for choice in plan.choices],
            "usage": plan.usage(),
        }
    return _response(plan, "completed" if plan.choices[0].finish_reason != "length" else "incomplete")


def stream_objects(plan: FakePlan) -> Iterator[JsonObject]:
    """The answer as the objects of a stream; usage comes last."""
    if plan.request.endpoint is Endpoint.CHAT:
        yield from _chat_stream(plan)
    elif plan.request.endpoint is Endpoint.COMPLETIONS:
        yield from _completion_stream(plan)
    else:
        for number, event in enumerate(_response_events(plan)):
            yield event | {"sequence_number": number}


def _head(plan: FakePlan, kind: str) -> JsonObject:
    prefix = "chatcmpl" if plan.request.endpoint is Endpoint.CHAT else "cmpl"
    return {
        "id": f"{prefix}-{plan.request.request_id}",
        "object": kind,
        "created": CREATED,
        "model": plan.speaker,
    }


def _chat_logprobs(plan: FakePlan, tokens: tuple[str, ...]) -> JsonObject | None:
    if plan.top_logprobs is None:
        return None
    return {"content": [_token_logprob(plan, token) for token in tokens], "refusal": None}


def _token_logprob(plan: FakePlan, token: str) -> JsonObject:
    def entry(text: str, position: int) -> JsonObject:
        return {"token": text, "logprob": plan.logprob(token, position), "bytes": list(text.encode())}

    alternatives = [entry(token if not i else f"{token}~{i}", i) for i in range(plan.top_logprobs or 0)]
    return entry(token, 0) | {"top_logprobs": alternatives}


def _tool_calls(plan: FakePlan, choice: FakeChoice) -> list[JsonObject]:
    assert choice.tool_call is not None  # noqa: S101  (only called for choices that have one)
    return [
        {
            "id": f"call_{plan.request.request_id}_{choice.index}",
            "type": "function",
            "function": {"name": choice.tool_call.name, "arguments": choice.text},
        }
    ]


def _chat_choice(plan: FakePlan, choice: FakeChoice) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_call is not None:
        message |= {"content": None, "tool_calls": _tool_calls(plan, choice)}
    return {
        "index": choice.index,
        "message": message,
        "logprobs": _chat_logprobs(plan, choice.tokens),
        "finish_reason": choice.finish_reason,
    }


def _chat_stream(plan: FakePlan) -> Iterator[JsonObject]:
    head = _head(plan, "chat.completion.chunk")

    def chunk(choice: FakeChoice, delta: JsonObject, **more: Any) -> JsonObject:
        return head | {"choices": [{"index": choice.index, "delta": delta, "finish_reason": None} | more]}

    for choice in plan.choices:
        yield chunk(choice, {"role": "assistant", "content": "" if choice.tool_call is None else None})
    for choice in plan.choices:
        if choice.tool_call is not None:
            call = _tool_calls(plan, choice)[0] | {"index": 0}
            call["function"] = call["function"] | {"arguments": ""}
            yield chunk(choice, {"tool_calls": [call]})
        for token in choice.tokens:
            if choice.tool_call is not None:
                yield chunk(choice, {"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
            elif plan.top_logprobs is None:
                yield chunk(choice, {"content": token})
            else:
                yield chunk(choice, {"content": token}, logprobs=_chat_logprobs(plan, (token,)))
        yield chunk(choice, {}, finish_reason=choice.finish_reason)
    yield head | {"choices": [], "usage": plan.usage()}


def _completion_logprobs(plan: FakePlan, tokens: tuple[str, ...], offset: int) -> JsonObject | None:
    if plan.top_logprobs is None:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": list(tokens),
        "token_logprobs": [plan.logprob(token) for token in tokens],
        "text_offset": offsets,
        "top_logprobs": [
            {(token if not i else f"{token}~{i}"): plan.logprob(token, i) for i in range(max(plan.top_logprobs, 1))}
            for token in tokens
        ],
    }


def _completion_tokens(plan: FakePlan, choice: FakeChoice) -> tuple[str, ...]:
    return (*tokens_of(choice.prompt), *choice.tokens) if plan.echo else choice.tokens


def _completion_choice(plan: FakePlan, choice: FakeChoice) -> JsonObject:
    tokens = _completion_tokens(plan, choice)
    return {
        "index": choice.index,
        "text": "".join(tokens),
        "logprobs": _completion_logprobs(plan, tokens, 0),
        "finish_reason": choice.finish_reason,
    }


def _completion_stream(plan: FakePlan) -> Iterator[JsonObject]:
    head = _head(plan, "text_completion")
    for choice in plan.choices:
        tokens, offset = _completion_tokens(plan, choice), 0
        for position, token in enumerate(tokens or ("",)):
            last = position >= len(tokens) - 1
            logprobs = _completion_logprobs(plan, (token,), offset) if token else None
            reason = choice.finish_reason if last else None
            piece = {"index": choice.index, "text": token, "logprobs": logprobs, "finish_reason": reason}
            yield head | {"choices": [piece]}
            offset += len(token)
    yield head | {"choices": [], "usage": plan.usage()}


def _response(plan: FakePlan, status: str, output: list[JsonObject] | None = None) -> JsonObject:
    body = plan.request.body
    done = status in ("completed", "incomplete")
    usage = {"usage": _response_usage(plan)} if done else {}
    return usage | {
        "id": f"resp_{plan.request.request_id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "model": plan.speaker,
        "output": ([_output_item(plan, status)] if done else []) if output is None else output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "metadata": plan.metadata,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [{"strict": None, "parameters": None} | tool for tool in body.get("tools") or ()],
        "temperature": body.get("temperature", 1.0),
        "top_p": body.get("top_p", 1.0),
        "max_output_tokens": body.get("max_output_tokens"),
        "previous_response_id": None,
        "background": False,
        "truncation": "disabled",
        "text": body.get("text") or {"format": {"type": "text"}},
    }


def _response_usage(plan: FakePlan) -> JsonObject:
    return {
        "input_tokens": plan.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": plan.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": plan.prompt_tokens + plan.completion_tokens,
    }


def _text_part(plan: FakePlan, tokens: tuple[str, ...]) -> JsonObject:
    logprobs = [] if plan.top_logprobs is None else [_token_logprob(plan, token) for token in tokens]
    return {"type": "output_text", "text": "".join(tokens), "annotations": [], "logprobs": logprobs}


def _output_item(plan: FakePlan, status: str) -> JsonObject:
    choice, started = plan.choices[0], status == "in_progress"
    if choice.tool_call is not None:
        return {
            "id": f"fc_{plan.request.request_id}",
            "type": "function_call",
            "call_id": f"call_{plan.request.request_id}",
            "name": choice.tool_call.name,
            "arguments": "" if started else choice.text,
            "status": status,
        }
    return {
        "id": f"msg_{plan.request.request_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [] if started else [_text_part(plan, choice.tokens)],
    }


def _response_events(plan: FakePlan) -> Iterator[JsonObject]:
    choice = plan.choices[0]
    status = "incomplete" if choice.finish_reason == "length" else "completed"
    yield {"type": "response.created", "response": _response(plan, "in_progress")}
    yield {"type": "response.in_progress", "response": _response(plan, "in_progress")}
    started, done = _output_item(plan, "in_progress"), _output_item(plan, status)
    yield {"type": "response.output_item.added", "output_index": 0, "item": started}
    place = {"item_id": done["id"], "output_index": 0}
    if choice.tool_call is not None:
        kind = "response.function_call_arguments"
        for token in choice.tokens:
            yield {"type": f"{kind}.delta", **place, "delta": token}
        yield {"type": f"{kind}.done", **place, "name": choice.tool_call.name, "arguments": choice.text}
    else:
        place["content_index"] = 0
        yield {"type": "response.content_part.added", **place, "part": _text_part(plan, ())}
        for token in choice.tokens:
            logprobs = _text_part(plan, (token,))["logprobs"]
            yield {"type": "response.output_text.delta", **place, "delta": token, "logprobs": logprobs}
        part = done["content"][0]
        yield {"type": "response.output_text.done", **place, "text": choice.text, "logprobs": part["logprobs"]}
        yield {"type": "response.content_part.done", **place, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": done}
    yield {"type": f"response.{status}", "response": _response(plan, status)}
