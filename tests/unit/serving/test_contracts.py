"""Output contracts: the fields for the engine, and the check afterwards."""

from typing import Any

import pytest
from pydantic import ValidationError

from serving.config import OutputContract
from serving.contracts import Contract, Violation
from serving.engine.protocol import Endpoint
from serving.errors import InvalidRequest

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def _contract(**kind: Any) -> Contract:
    return Contract(OutputContract(**kind))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ({"json_schema": SCHEMA}, '{"a": 1}', '{"a": "1"}'),
        ({"json_schema": SCHEMA}, ' {"a":2} ', '{"a": 1'),
        ({"regex": "[A-Z]{2}"}, "AB", "ABC"),
        ({"choice": ("yes", "no")}, "no", "No"),
        ({"grammar": 'root ::= "x" root | "y"'}, "xxy", "xx"),
    ],
)
def test_an_answer_is_held_against_its_contract(kind: dict[str, Any], good: str, bad: str) -> None:
    contract = _contract(**kind)
    assert contract.check(good, "stop") is None
    assert contract.check(bad, "stop") is Violation.MISMATCH


def test_an_answer_cut_off_by_the_limit_is_told_apart() -> None:
    contract = _contract(json_schema=SCHEMA)
    assert contract.check('{"a": ', "length") is Violation.TRUNCATED
    assert contract.check('{"a": 1}', "length") is None


def test_a_schema_goes_into_the_field_that_each_endpoint_has_for_it() -> None:
    contract = _contract(json_schema=SCHEMA)
    chat: dict[str, Any] = {}
    contract.constrain(Endpoint.CHAT, chat, vllm=False)
    assert chat["response_format"]["json_schema"]["schema"] == SCHEMA
    response: dict[str, Any] = {"text": {"verbosity": "low"}}
    contract.constrain(Endpoint.RESPONSES, response, vllm=False)
    assert response["text"]["format"]["schema"] == SCHEMA
    assert response["text"]["verbosity"] == "low"
    completion: dict[str, Any] = {}
    contract.constrain(Endpoint.COMPLETIONS, completion, vllm=True)
    assert completion == {"structured_outputs": {"json": SCHEMA}}


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ({"regex": "a"}, {"regex": "a"}),
        ({"choice": ("a", "b")}, {"choice": ["a", "b"]}),
        ({"grammar": 'root ::= "a"'}, {"grammar": 'root ::= "a"'}),
    ],
)
def test_the_other_kinds_go_to_vllm_alone(endpoint: Endpoint, kind: dict[str, Any], field: dict[str, Any]) -> None:
    body: dict[str, Any] = {}
    _contract(**kind).constrain(endpoint, body, vllm=True)
    assert body == {"structured_outputs": field}
    elsewhere: dict[str, Any] = {}
    _contract(**kind).constrain(endpoint, elsewhere, vllm=False)
    assert elsewhere == {}


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        (Endpoint.CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (Endpoint.CHAT, {"response_format": {"type": "text"}}, "response_format"),
        (Endpoint.CHAT, {"response_format": "json"}, "response_format"),
        (Endpoint.RESPONSES, {"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
        (Endpoint.CHAT, {"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        (Endpoint.CHAT, {"tools": [{"type": "function"}]}, "tools"),
        (Endpoint.COMPLETIONS, {"echo": True}, "echo"),
    ],
)
def test_a_request_for_another_shape_is_refused(endpoint: Endpoint, body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        _contract(json_schema=SCHEMA).constrain(endpoint, body, vllm=True)
    assert refusal.value.param == param


def test_the_very_same_shape_is_accepted() -> None:
    contract = _contract(json_schema=SCHEMA)
    form = {"type": "json_schema", "json_schema": {"name": "mine", "schema": SCHEMA}}
    contract.constrain(Endpoint.CHAT, {"response_format": form}, vllm=True)
    contract.constrain(Endpoint.RESPONSES, {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, vllm=True)
    contract.constrain(Endpoint.CHAT, {"structured_outputs": {"json": SCHEMA}}, vllm=True)
    contract.constrain(Endpoint.CHAT, {"tools": [{"type": "function"}], "tool_choice": "none"}, vllm=True)


def test_a_contract_of_another_kind_does_not_equal_a_schemaless_format() -> None:
    with pytest.raises(InvalidRequest):
        _contract(regex="a").constrain(
            Endpoint.CHAT, {"response_format": {"type": "json_schema", "json_schema": {}}}, vllm=True
        )


@pytest.mark.parametrize(
    ("grammar", "text", "matches"),
    [
        ('root ::= "a" (b | "c")* # comment\nb ::= [0-9]{1,2}', "a12c3", True),
        ('root ::= "a" (b | "c")*\nb ::= [0-9]{1,2}', "ab", False),
        ('start ::= item ("," item)*\nitem ::= [^,\\n]+', "x y,z", True),
        ('root ::= "" | "\\"" . "\\""', '"/"', True),
        ("root ::= [\\[&~/|-]+", "[/|-", True),
        ('root ::= "\\u00e9" "\\x41"?', "éA", True),
        ('start: "a" WORD\nWORD: /[a-z]+/', "abc", True),
        ('sql: "SELECT " ("a"|"b")', "SELECT c", False),
    ],
)
def test_grammars_in_both_notations_are_understood(grammar: str, text: str, *, matches: bool) -> None:
    assert (_contract(grammar=grammar).check(text, "stop") is None) is matches


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= missing",
        "root ::= @",
        "no rules here",
        'root ::= ("a"',
        'root ::= "a"{2,}',
        '::= "a"',
        'root ::= "\\x"',
    ],
)
def test_a_grammar_that_cannot_be_read_is_a_configuration_error(grammar: str) -> None:
    with pytest.raises(ValidationError, match="grammar"):
        OutputContract(grammar=grammar)
