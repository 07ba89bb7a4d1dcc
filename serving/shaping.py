"""A caller's request, with its task's defaults: what goes to the engine. Pure."""

from typing import Any

from serving.config import TaskSettings
from serving.contracts import Contract
from serving.engine.protocol import Endpoint, JsonObject

_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_LENGTH_FIELD = {
    Endpoint.CHAT: "max_completion_tokens",
    Endpoint.COMPLETIONS: "max_tokens",
    Endpoint.RESPONSES: "max_output_tokens",
}
_SYSTEM_ROLES = ("system", "developer")


def shape_request(
    endpoint: Endpoint, body: JsonObject, task: TaskSettings | None, contract: Contract | None, *, vllm: bool
) -> JsonObject:
    """The body for the engine; ``body`` itself stays as it is.

    What the caller says wins over the task's sampling and system prompt, never over its contract.

    Raises:
        InvalidRequest: the request contradicts the contract.
    """
    if task is None:
        return body
    shaped = dict(body)
    _add_sampling(endpoint, shaped, task.sampling)
    if task.system_prompt is not None:
        _add_system_prompt(endpoint, shaped, task.system_prompt)
    if contract is not None:
        contract.constrain(endpoint, shaped, vllm=vllm)
    return shaped


def shadow_body(body: JsonObject) -> JsonObject:
    """The same request, to be answered whole."""
    return {name: value for name, value in body.items() if name not in ("stream", "stream_options")}


def _add_sampling(endpoint: Endpoint, body: JsonObject, sampling: dict[str, Any]) -> None:
    limited = any(body.get(name) is not None for name in _LENGTH_FIELDS)
    for name, value in sampling.items():
        if name in _LENGTH_FIELDS:
            if not limited:
                body[_LENGTH_FIELD[endpoint]] = value
        elif body.get(name) is None:
            body[name] = value


def _add_system_prompt(endpoint: Endpoint, body: JsonObject, prompt: str) -> None:
    """A raw completion has no place for a system prompt: its prompt is the whole text."""
    if endpoint is Endpoint.CHAT:
        if not _has_system_message(body["messages"]):
            body["messages"] = [{"role": "system", "content": prompt}, *body["messages"]]
    elif endpoint is Endpoint.RESPONSES and not body.get("instructions"):
        given = body["input"]
        if isinstance(given, str) or not _has_system_message(given):
            body["instructions"] = prompt


def _has_system_message(messages: list[Any]) -> bool:
    return any(isinstance(message, dict) and message.get("role") in _SYSTEM_ROLES for message in messages)
