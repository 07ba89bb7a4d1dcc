"""Every error reaches a client in OpenAI's form."""

import importlib
import inspect

import pytest

from serving.errors import ERROR_TABLE, answer_for, error_body
from tests.meta.sources import error_classes

_LIBRARIES = ("AdapterError", "GatewayError", "EngineError", "KnowledgeError")
_CLASSES = error_classes(*_LIBRARIES)
_GROUPS = {
    *("AdapterError", "AdapterClientError", "AdapterServerError"),
    *("KnowledgeError", "KnowledgeClientError", "KnowledgeServerError"),
    *("GatewayError", "EngineError"),
}
"""Classes that only hold others together and are never raised themselves."""
_STATUSES = {
    "invalid_request_error": {400, 401, 404, 405, 409, 413, 415},
    "permission_error": {403},
    "rate_limit_error": {429},
    "server_error": {500, 503, 504},
}


def _load(name: str) -> type[Exception]:
    found: type[Exception] = getattr(importlib.import_module(_CLASSES[name]), name)
    return found


@pytest.mark.parametrize("name", sorted(_CLASSES.keys() - _GROUPS))
def test_every_error_has_a_row_of_its_own(name: str) -> None:
    assert _load(name) in ERROR_TABLE


def test_every_row_is_of_an_error_that_exists() -> None:
    known = {_load(name) for name in _CLASSES} | {Exception}

    assert [cls.__name__ for cls in ERROR_TABLE if cls not in known] == []


@pytest.mark.parametrize("cls", list(ERROR_TABLE))
def test_every_row_is_an_answer_that_openai_clients_understand(cls: type[Exception]) -> None:
    row = ERROR_TABLE[cls]

    assert row.status in _STATUSES[row.type]
    assert row.code.isidentifier()
    assert row.retry_after_s is None or row.status in (429, 503)
    assert row.status not in (429, 503) or row.retry_after_s is not None


def test_every_error_says_what_it_means() -> None:
    silent = [cls.__name__ for cls in ERROR_TABLE if cls is not Exception and not inspect.getdoc(cls)]

    assert silent == []


def test_an_unexpected_error_says_nothing_of_its_inside() -> None:
    body = error_body(ZeroDivisionError("a secret"))

    assert answer_for(ZeroDivisionError()).status == 500
    assert "secret" not in body["error"]["message"]
