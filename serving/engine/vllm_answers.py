"""vLLM's answers made to fit OpenAI's schema: what is missing is added, vLLM's empty extras are dropped."""

from collections.abc import Iterator
from typing import Any

from serving.engine.protocol import Endpoint, EngineRequest, JsonObject

_ADDED_BY_THE_GATEWAY = ("system_fingerprint",)


def normal_answer(request: EngineRequest, answer: JsonObject) -> JsonObject:
    """A whole answer."""
    if request.endpoint is Endpoint.RESPONSES:
        return _response(request, answer)
    answer = _without_nulls(answer)
    for choice in answer["choices"]:
        _choice(choice, request.endpoint)
    usage = answer.get("usage")
    if usage is not None:
        answer["usage"] = _without_nulls(usage)
    return answer


def normal_piece(piece: JsonObject) -> JsonObject:
    """One object of a chat or completions stream."""
    for name in [name for name, value in piece.items() if value is None or name in _ADDED_BY_THE_GATEWAY]:
        del piece[name]
    for choice in piece["choices"]:
        for name in ("token_ids", "stop_reason", "prompt_token_ids"):
            if choice.get(name, 0) is None:
                del choice[name]
        logprobs = choice.get("logprobs")
        if logprobs is not None and "content" in logprobs:
            logprobs.setdefault("refusal", None)
    return piece


class ResponseEvents:
    """The events of one response, which vLLM does not quite fit together.

    vLLM reads the whole text again for the last event, and so can name other items there than those it streamed; it
    leaves out the end of arguments that were cut short; and it calls a response completed that is not.
    """

    def __init__(self, request: EngineRequest) -> None:
        self._request = request
        self._number = 0
        self._names: dict[int, str] = {}
        self._argued: set[int] = set()
        self._done: list[JsonObject] = []
        self._held: JsonObject | None = None

    def normal(self, event: JsonObject) -> Iterator[JsonObject]:
        """The events to send for one of vLLM's."""
        if "response" in event:
            event["response"] = _response(self._request, event["response"])
        if event["type"] == "response.completed":
            self._finish(event)
        if self._held is not None:
            yield self._numbered(self._held)
            self._held = None
        if "item" in event:
            yield from self._item(event)
            return
        if "part" in event:
            event["part"] = _content_part(event["part"])
        if event["type"] == "response.function_call_arguments.done":
            self._argued.add(event["output_index"])
            event["name"] = event.get("name") or self._names[event["output_index"]]
        yield self._numbered(event)

    def _item(self, event: JsonObject) -> Iterator[JsonObject]:
        item = event["item"] = _output_item(event["item"])
        position = event["output_index"]
        if event["type"] != "response.output_item.done":
            self._names[position] = item.get("name", "")
            yield self._numbered(event)
            return
        if item["type"] == "function_call" and position not in self._argued:
            kind = "response.function_call_arguments.done"
            place = {"item_id": item["id"], "output_index": position}
            yield self._numbered({"type": kind, **place, "name": item["name"], "arguments": item["arguments"]})
        self._done.append(item)
        self._held = event  # Whether the item is whole is known with the next event.

    def _finish(self, event: JsonObject) -> None:
        response = event["response"]
        event["type"] = f"response.{response['status']}"
        if not self._done and not self._request.body.get("tools"):
            return
        if response["status"] == "incomplete" and self._done:
            self._done[-1]["status"] = "incomplete"
        response["output"] = self._done

    def _numbered(self, event: JsonObject) -> JsonObject:
        event["sequence_number"] = self._number
        self._number += 1
        return event


def _without_nulls(given: JsonObject) -> JsonObject:
    dropped = _ADDED_BY_THE_GATEWAY
    return {name: value for name, value in given.items() if value is not None and name not in dropped}


def _choice(choice: JsonObject, endpoint: Endpoint) -> None:
    logprobs = choice.get("logprobs")
    for name in [name for name, value in choice.items() if value is None and name != "finish_reason"]:
        del choice[name]
    choice["logprobs"] = logprobs
    if endpoint is not Endpoint.CHAT:
        return
    if logprobs is not None:
        logprobs.setdefault("refusal", None)
    message = choice["message"]
    choice["message"] = kept = _without_nulls(message)
    if not message.get("tool_calls"):
        kept.pop("tool_calls", None)
    kept["content"] = None if "tool_calls" in kept and not message.get("content") else message.get("content")
    kept["refusal"] = message.get("refusal")


_NULLABLE_IN_RESPONSE = frozenset(
    {
        "background",
        "completed_at",
        "conversation",
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "previous_response_id",
        "prompt",
        "reasoning",
        "temperature",
        "top_logprobs",
        "top_p",
        "truncation",
    }
)


def _response(request: EngineRequest, response: JsonObject) -> JsonObject:
    body = request.body
    status = response["status"]
    kept = {name: value for name, value in response.items() if value is not None or name in _NULLABLE_IN_RESPONSE}
    kept.setdefault("error", None)
    kept["model"] = request.adapter or kept["model"]
    kept["text"] = body.get("text") or {"format": {"type": "text"}}
    # vLLM says "none" where no tool was given; the default of the API is "auto".
    kept["tool_choice"] = body.get("tool_choice") or "auto"
    kept["tools"] = [{"strict": None, "parameters": None, **tool} for tool in body.get("tools") or ()]
    kept["output"] = [_output_item(item) for item in response["output"]]
    if status == "incomplete" and kept["output"] and "status" in kept["output"][-1]:
        kept["output"][-1]["status"] = "incomplete"
    usage = kept.get("usage")
    if usage is not None:
        kept["usage"] = _response_usage(usage)
    return kept


def _response_usage(usage: JsonObject) -> JsonObject:
    read = usage.get("input_tokens_details") or {}
    written = usage.get("output_tokens_details") or {}
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage["total_tokens"],
    }


def _output_item(item: JsonObject) -> JsonObject:
    kept = {name: value for name, value in item.items() if value is not None}
    if kept.get("type") == "message":
        kept.pop("summary", None)
        kept["content"] = [_content_part(part) for part in kept.get("content", ())]
    return kept


def _content_part(part: JsonObject) -> JsonObject:
    kept: dict[str, Any] = {name: value for name, value in part.items() if value is not None}
    if kept.get("type") == "output_text":
        kept.setdefault("annotations", [])
        kept.setdefault("logprobs", [])
    return kept
