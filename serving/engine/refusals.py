"""Requests that this gateway's own engines refuse before any generation."""

from collections.abc import Mapping
from typing import Any

from serving.engine.protocol import EngineRejected

CHAT_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def context_length_exceeded(message: str, param: str | None) -> EngineRejected:
    """The prompt, or the prompt and the answer asked for, is longer than the model can read."""
    return EngineRejected(message, param=param, code="context_length_exceeded")


def check_chat_roles(body: Mapping[str, Any]) -> None:
    """Refuse a message whose role the API does not define. Raises EngineRejected."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise EngineRejected("`messages` must be a non-empty array.", param="messages")
    for position, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in CHAT_ROLES:
            raise EngineRejected(
                f"Invalid value: {role!r}. Supported roles are {', '.join(sorted(CHAT_ROLES))}.",
                param=f"messages[{position}].role",
                code="invalid_value",
            )


def check_stateless(body: Mapping[str, Any]) -> None:
    """Refuse what would need responses kept on the server. Raises EngineRejected."""
    if body.get("previous_response_id") is not None:
        raise EngineRejected(
            "Responses are not stored here, so `previous_response_id` refers to nothing; send the conversation "
            "in `input`.",
            param="previous_response_id",
            code="unsupported_parameter",
        )
    for name in ("store", "background"):
        if body.get(name):
            raise EngineRejected(
                f"Responses are not stored here; leave `{name}` out or send `{name}: false`.",
                param=name,
                code="unsupported_parameter",
            )
    for name in ("conversation", "prompt"):
        if body.get(name) is not None:
            raise EngineRejected(
                f"`{name}` refers to an object that this server does not keep; send its content in `input`.",
                param=name,
                code="unsupported_parameter",
            )
