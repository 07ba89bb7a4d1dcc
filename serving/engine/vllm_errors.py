"""vLLM's errors in the terms of the Engine protocol."""

import re
from typing import Any

from serving.engine.protocol import (
    Endpoint,
    EngineError,
    EngineRejected,
    EngineRequest,
    EngineUnavailable,
)
from serving.engine.translation import translate

_CONSTRAINTS = ("structured_outputs", "response_format", "text", "tools")


_CONSTRAINT = re.compile(r"grammar|json schema|structured_outputs|\bregex\b", re.IGNORECASE)
_PROMPTS = {Endpoint.CHAT: "messages", Endpoint.COMPLETIONS: "prompt", Endpoint.RESPONSES: "input"}


def name_param(error: EngineError, request: EngineRequest) -> EngineError:
    """``error`` with the field of ``request`` that it is about, where vLLM does not name it."""
    if isinstance(error, EngineRejected) and error.param is None:
        if error.code == "context_length_exceeded":
            error.param = _PROMPTS[request.endpoint]
        elif _CONSTRAINT.search(str(error)):
            error.param = next((name for name in _CONSTRAINTS if request.body.get(name) is not None), None)
    return error


def from_error_info(info: Any) -> EngineError:
    """The error that one of vLLM's error objects (``message``, ``type``, ``param``, ``code``) stands for."""
    return translate(str(info.message), int(info.code), param=info.param)


def from_error_body(body: Any) -> EngineError:
    """The same for an error in a stream, which comes as JSON."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    code = error.get("code")
    status = code if isinstance(code, int) else 500
    return translate(str(error.get("message", body)), status, param=error.get("param"))


def from_exception(error: Exception) -> EngineError:
    """The error that an exception out of vLLM stands for."""
    from vllm.v1.engine.exceptions import EngineDeadError

    if isinstance(error, EngineError):
        return error
    if isinstance(error, EngineDeadError):
        return EngineUnavailable("The engine has stopped.")
    try:
        from vllm.entrypoints.serve.exception_handling.error_response import create_error_response
    except ImportError:  # before 0.29
        return translate(str(error), 400 if isinstance(error, ValueError | TypeError | OverflowError) else 500)
    return from_error_info(create_error_response(error).error)
