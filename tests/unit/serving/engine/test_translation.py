"""Errors of other engines in the protocol's terms."""

import pytest

from serving.engine.protocol import (
    Endpoint,
    EngineError,
    EngineFailed,
    EngineRejected,
    EngineRequest,
    EngineUnavailable,
)
from serving.engine.translation import translate
from serving.engine.vllm_errors import from_error_body, name_param


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, EngineRejected),
        (422, EngineRejected),
        (500, EngineFailed),
        (502, EngineUnavailable),
        (503, EngineUnavailable),
    ],
)
def test_the_status_decides_the_kind(status: int, kind: type[EngineError]) -> None:
    assert type(translate("no", status)) is kind


def test_a_refusal_keeps_what_openai_clients_read() -> None:
    error = translate(
        "temperature must be in [0, 2], got 5.0. (parameter=temperature, value=5.0)", 400, param="temperature"
    )
    assert isinstance(error, EngineRejected)
    assert str(error) == "temperature must be in [0, 2], got 5.0."
    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", "temperature", None)


def test_numbers_are_no_codes_and_names_are() -> None:
    numbered, named = translate("x", 400, code=400), translate("x", 400, code="bad_thing")
    assert isinstance(numbered, EngineRejected)
    assert isinstance(named, EngineRejected)
    assert (numbered.code, named.code) == (None, "bad_thing")


def test_too_many_requests_is_a_rate_limit() -> None:
    error = translate("slow down", 429)
    assert isinstance(error, EngineRejected)
    assert (error.status, error.type) == (429, "rate_limit_error")


def test_a_prompt_that_is_too_long_has_openais_code_and_the_endpoints_field() -> None:
    error = translate("This model's maximum context length is 8 tokens.", 400, param="input_tokens")
    named = name_param(error, EngineRequest(Endpoint.RESPONSES, {}, "r"))
    assert isinstance(named, EngineRejected)
    assert (named.code, named.param) == ("context_length_exceeded", "input")


def test_a_constraint_that_cannot_be_kept_names_the_field_it_came_in() -> None:
    request = EngineRequest(Endpoint.CHAT, {"response_format": {"type": "json_schema"}}, "r")
    error = name_param(translate("Grammar error: Invalid type: strin", 400), request)
    assert isinstance(error, EngineRejected)
    assert error.param == "response_format"


def test_a_place_in_foreign_source_code_is_not_told() -> None:
    assert str(translate("bad regex: [04:37:04] <path>:83: Unclosed '['", 400)) == "bad regex: Unclosed '['"


def test_an_error_in_a_stream_is_read_with_or_without_its_envelope() -> None:
    wrapped = from_error_body({"error": {"message": "gone", "code": 503}})
    bare = from_error_body({"message": "broken", "code": 500})
    assert isinstance(wrapped, EngineUnavailable)
    assert isinstance(bare, EngineFailed)
