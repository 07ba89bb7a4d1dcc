"""What an answer says, whatever its form."""

import pytest

from training.diagnosis.reading import Kind, References, extract_json
from training.evaluation.types import Answer, Case

LABELLED = [
    Case(f"{label}-{number}", ({"role": "user", "content": "?"},), label)
    for label in ("bug", "bug report", "access")
    for number in range(3)
]
PRICE = "How much is the Team plan?"


def case(expected: str, question: str = PRICE, context: tuple[str, ...] = ()) -> Case:
    return Case("c", ({"role": "user", "content": question},), expected, context=context)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("79 EUR", "79 EUR"),
        ("79 EUR", "The Team plan costs **79 EUR** per month. [1]"),
        ("The Team plan costs 79 EUR per month. [2]", "79 EUR"),
        ("1,000 requests", "1000 requests"),
        ("2.0 GB", "2 GB"),
        ("Tuesday", "It is on tuesday."),
    ],
)
def test_a_text_is_right_by_its_words_and_numbers(expected: str, text: str) -> None:
    assert References.of([]).agrees(case(expected), Answer(text))


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("79 EUR", "79 USD"),
        ("79 EUR", "95 EUR"),
        ("79 EUR", "79 EUR or 95 EUR"),
        ("79 EUR", ""),
        ("Tuesday", "Not on Tuesday."),
        ("northctl rollback", "northctl restore"),
    ],
)
def test_another_number_unit_word_or_a_negation_is_another_answer(expected: str, text: str) -> None:
    assert not References.of([]).agrees(case(expected), Answer(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"value": 79, "unit": "EUR"}',
        '```json\n{"value": 79, "unit": "EUR"}\n```',
        "Here you are: {'value': 79, 'unit': 'EUR',} - anything else?",
        '{value: 79, unit: "eur", "note": "monthly"}',
        "It is 79 EUR.",
    ],
)
def test_an_object_is_right_by_its_values(text: str) -> None:
    assert References.of([]).agrees(case('{"value": 79, "unit": "EUR"}'), Answer(text))


@pytest.mark.parametrize(
    "text", ['{"value": 79}', '{"value": 78, "unit": "EUR"}', "[1] I do not know", "{", "{" * 5000]
)
def test_an_object_with_other_values_is_wrong_and_none_is_none(text: str) -> None:
    assert not References.of([]).agrees(case('{"value": 79, "unit": "EUR"}'), Answer(text))


def test_the_one_label_in_a_sentence_is_what_it_says() -> None:
    references = References.of(LABELLED)

    assert references.labels == {"bug", "bug report", "access"}
    assert references.kind(LABELLED[0]) is Kind.LABEL
    assert references.says(LABELLED[0], Answer("**Bug report**, I would say.")) == "bug report"
    assert references.says(LABELLED[0], Answer("bug or access")) == ""
    assert not references.agrees(LABELLED[0], Answer("bug report"))


def test_numbers_that_cases_share_are_no_labels() -> None:
    assert References.of([case("30")] * 5).labels == frozenset()


def test_a_tool_call_that_was_written_as_text_is_read() -> None:
    wanted = Case("c", ({"role": "user", "content": "?"},), expected_tool_calls=({"name": "f", "arguments": {"x": 1}},))
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    references = References.of([wanted])

    assert references.agrees(wanted, Answer("", tool_calls=(called,)))
    assert references.agrees(wanted, Answer('I call {"name": "f", "arguments": {"x": 1}}'))
    assert not references.agrees(wanted, Answer('{"name": "g", "arguments": {"x": 1}}'))
    assert not references.agrees(wanted, Answer("nothing"))


def test_passages_state_a_fact_and_no_judgment() -> None:
    references = References.of(LABELLED)
    label = LABELLED[-1]

    assert references.states(case("79 EUR"), ("The Team plan costs 79 EUR.",))
    assert not references.states(case("79 EUR"), ("The Team plan costs 95 EUR.",))
    assert not references.states(case("79 EUR"), ())
    assert references.states(label, ("Lost passwords are access.",))
    assert not references.states(label, ("Tickets are access or bug.",)), "a list of all labels states none"
    assert not references.states(case("yes"), ("Yes, there are rules.",))


def test_an_answer_that_abstains_says_nothing() -> None:
    references = References.of([])

    assert references.says(case("79 EUR"), Answer("The documents do not tell.")) == ""
    assert references.says(case("79 EUR"), Answer("79 EUR")) == references.says(
        case("79 EUR"), Answer("It costs EUR 79")
    )


def test_the_first_object_of_the_wanted_shape_is_taken() -> None:
    assert extract_json('[1] {"a": 2}', (dict,)) == {"a": 2}
    assert extract_json("no object") is None
