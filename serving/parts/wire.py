"""A search as JSON, for the way between a gateway and the process that owns the indexes."""

from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from retrieval import errors
from retrieval.errors import KnowledgeError
from serving.errors import InvalidRequest
from serving.knowledge.protocol import SearchRequest, SearchResult

SEARCH_PATH = "/internal/v1/search"
METRICS_PATH = "/internal/v1/metrics"

_REQUEST = TypeAdapter(SearchRequest)
_RESULT = TypeAdapter(SearchResult)

_KINDS: dict[str, type[KnowledgeError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, KnowledgeError)
}


def request_to_json(request: SearchRequest) -> bytes:
    """The inverse of :func:`request_from_json`."""
    return _REQUEST.dump_json(request)


def request_from_json(data: bytes) -> SearchRequest:
    """Raises InvalidRequest: another release of the gateway may have sent it."""
    try:
        return _REQUEST.validate_json(data)
    except ValidationError as error:
        raise InvalidRequest(f"This is no search: {error.errors(include_url=False)[0]['msg']}.") from None


def result_to_json(result: SearchResult) -> bytes:
    """The inverse of :func:`result_from_json`."""
    return _RESULT.dump_json(result)


def result_from_json(data: bytes) -> SearchResult:
    """Raises ValueError."""
    return _RESULT.validate_json(data)


def error_to_json(error: KnowledgeError) -> bytes:
    """The error with its class, so that it can be raised on the other side as it is."""
    kind = next(cls.__name__ for cls in type(error).__mro__ if _KINDS.get(cls.__name__) is cls)
    return orjson.dumps({"kind": kind, "args": [str(one) for one in error.args], "state": error.__dict__}, default=str)


def error_from_json(data: bytes) -> KnowledgeError | None:
    """The error that was sent; None for anything else."""
    try:
        sent: Any = orjson.loads(data)
        return errors.rebuilt(_KINDS[sent["kind"]], tuple(sent["args"]), dict(sent["state"]))
    except (ValueError, KeyError, TypeError):
        return None
