"""``Refusal``: the gateway's own answer where the documents have none, in the shapes that an engine would give it."""

import time
from collections.abc import AsyncGenerator, Iterator

from serving.engine.protocol import Endpoint, EngineRequest, JsonObject


class Refusal:
    """Says ``text`` to every request, at no tokens."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def complete(self, request: EngineRequest) -> JsonObject:
        """The whole answer."""
        if request.endpoint is Endpoint.RESPONSES:
            return _response(request, "completed", [_message(request, "completed", self._text)])
        chat = request.endpoint is Endpoint.CHAT
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        said = {"message": {"role": "assistant", "content": self._text, "refusal": None}} if chat else {}
        choices = [
            {"index": index, **(said or {"text": self._text}), "logprobs": None, "finish_reason": "stop"}
            for index in range(request.body.get("n") or 1)
        ]
        return _head(request, "chat.completion" if chat else "text_completion") | {"choices": choices, "usage": usage}

    async def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """The answer as the objects of a stream; usage comes last."""
        if request.endpoint is Endpoint.RESPONSES:
            for number, event in enumerate(self._events(request)):
                yield event | {"sequence_number": number}
            return
        whole = await self.complete(request)
        chat = request.endpoint is Endpoint.CHAT
        head = _head(request, "chat.completion.chunk" if chat else "text_completion")
        for choice in whole["choices"]:
            place = {"index": choice["index"], "logprobs": None}
            if not chat:
                yield head | {"choices": [{**place, "text": self._text, "finish_reason": "stop"}]}
                continue
            said = {"role": "assistant", "content": self._text}
            yield head | {"choices": [{**place, "delta": said, "finish_reason": None}]}
            yield head | {"choices": [{**place, "delta": {}, "finish_reason": "stop"}]}
        yield head | {"choices": [], "usage": whole["usage"]}

    def _events(self, request: EngineRequest) -> Iterator[JsonObject]:
        done = _message(request, "completed", self._text)
        place = {"output_index": 0, "item_id": done["id"], "content_index": 0}
        yield {"type": "response.created", "response": _response(request, "in_progress", [])}
        yield {"type": "response.in_progress", "response": _response(request, "in_progress", [])}
        started = _message(request, "in_progress", None)
        yield {"type": "response.output_item.added", "output_index": 0, "item": started}
        yield {"type": "response.content_part.added", **place, "part": _part("")}
        yield {"type": "response.output_text.delta", **place, "delta": self._text, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": self._text, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": _part(self._text)}
        yield {"type": "response.output_item.done", "output_index": 0, "item": done}
        yield {"type": "response.completed", "response": _response(request, "completed", [done])}


def _head(request: EngineRequest, kind: str) -> JsonObject:
    prefix = "chatcmpl" if request.endpoint is Endpoint.CHAT else "cmpl"
    return {"id": f"{prefix}-{request.request_id}", "object": kind, "created": int(time.time())}


def _part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(request: EngineRequest, status: str, text: str | None) -> JsonObject:
    return {
        "id": f"msg_{request.request_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [] if text is None else [_part(text)],
    }


def _response(request: EngineRequest, status: str, output: list[JsonObject]) -> JsonObject:
    body = request.body
    usage = {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
    return ({"usage": usage} if status == "completed" else {}) | {
        "id": f"resp_{request.request_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "metadata": dict(body.get("metadata") or {}),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [{"strict": None, "parameters": None, **tool} for tool in body.get("tools") or ()],
        "temperature": body.get("temperature", 1.0),
        "top_p": body.get("top_p", 1.0),
        "max_output_tokens": body.get("max_output_tokens"),
        "previous_response_id": None,
        "background": False,
        "truncation": "disabled",
        "text": body.get("text") or {"format": {"type": "text"}},
    }
