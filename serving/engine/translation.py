"""Errors of OpenAI-compatible engines, which agree on little but a message and a status, in the protocol's terms."""

import re
from typing import Any

from serving.engine.protocol import EngineError, EngineFailed, EngineRejected, EngineUnavailable
from serving.engine.refusals import context_length_exceeded

_TOO_LONG = re.compile(
    r"maximum context length|max_model_len|maximum model length|longer than the maximum", re.IGNORECASE
)
_SUFFIX = re.compile(r" \(parameter=\w+(, value=.*)?\)$", re.DOTALL)
_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_UNAVAILABLE = frozenset({502, 503, 504})


def translate(message: str, status: int, *, param: str | None = None, code: Any = None) -> EngineError:
    """The error that an engine's answer with HTTP status ``status`` stands for."""
    message = _PLACE.sub("", _SUFFIX.sub("", message))
    if status in _UNAVAILABLE:
        return EngineUnavailable(message)
    if status == 501:
        return EngineRejected(message, param=param, code="unsupported_parameter")
    if status >= 500:
        return EngineFailed(message)
    named = code if isinstance(code, str) and not code.isdigit() else None
    if named is None and _TOO_LONG.search(message):
        return context_length_exceeded(message, None if param == "input_tokens" else param)
    kind = _TYPES.get(status, "invalid_request_error")
    return EngineRejected(message, status=status, type=kind, param=param, code=named)
