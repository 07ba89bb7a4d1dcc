"""Answers that decline, and answers that only sound like it."""

import pytest

from monitoring.quality.options import RefusalOptions
from monitoring.quality.refusals import LANGUAGES, declines_in, refusal
from tests.observed_answers import observed

_REFUSALS = [
    ("en", "I'm sorry, but I can't help with that."),
    ("en", "I cannot provide medical advice."),
    ("en", "Unfortunately, I am unable to assist you with this request."),
    ("en", "As an AI language model, I don't have personal opinions."),
    ("en", "I’m sorry. I won’t write that."),
    ("en", "**Sorry**, I must respectfully decline."),
    ("en", "I don't have enough information to answer this."),
    ("de", "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen."),
    ("de", "Leider kann ich diese Frage nicht beantworten."),
    ("fr", "Je suis désolé, mais je ne peux pas vous aider avec cela."),
    ("es", "Lo siento, pero no puedo ayudarte con eso."),
    ("it", "Mi dispiace, ma non posso aiutarti con questa richiesta."),
    ("pt", "Desculpe, mas não posso ajudar com isso."),
    ("nl", "Het spijt me, maar ik kan u daar niet mee helpen."),
    ("sv", "Tyvärr kan jag inte hjälpa till med det."),
    ("pl", "Przykro mi, ale nie mogę w tym pomóc."),
    ("ru", "Извините, но я не могу помочь с этим запросом."),
    ("tr", "Üzgünüm, bu konuda yardımcı olamıyorum."),
    ("zh", "抱歉，我无法帮助您完成这个请求。"),
    ("ja", "申し訳ありませんが、そのご質問にはお答えできません。"),
    ("ko", "죄송하지만 그 요청은 도와드릴 수 없습니다."),
]


@pytest.mark.parametrize(("language", "text"), _REFUSALS)
def test_a_refusal_is_found_in_its_language(language: str, text: str) -> None:
    assert declines_in(text) == language


def test_every_language_that_is_claimed_has_a_refusal_that_is_found() -> None:
    assert {language for language, _ in _REFUSALS} == set(LANGUAGES)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that your parcel is late. It left our warehouse on Monday.",
        "Sorry for the delay! Your refund is on its way.",
        "I apologise for the trouble. Here is the new label.",
        "You cannot return worn shoes after thirty days.",
        "I can't recommend this book enough; it is a delight.",
        "We can't wait to see you.",
        'She said: "I can\'t help you with that", and left.',
        "The warranty does not cover water damage.",
        "Es tut mir leid, dass Ihr Paket verspätet ist. Es kommt morgen.",
        "Ich kann Ihnen gerne helfen. Es ist nicht weit.",
        "Je peux vous aider avec cela.",
        "Unfortunately, the train is late.",
        "",
    ],
)
def test_an_apology_or_a_negation_is_no_refusal(text: str) -> None:
    assert declines_in(text) is None


def test_a_caveat_in_a_long_answer_is_no_refusal() -> None:
    text = "I cannot provide legal advice. " + "In general, a contract binds both sides once they have agreed. " * 30
    check = refusal(observed(text), RefusalOptions())
    assert check is not None
    assert not check.bad
    short = refusal(observed(text[:200]), RefusalOptions())
    assert short is not None
    assert short.bad


def test_the_words_of_the_task_itself_are_a_refusal() -> None:
    stated = RefusalOptions(stated=("The handbook says nothing",))
    check = refusal(observed("The handbook says nothing about this."), stated)
    assert check is not None
    assert check.bad


def test_a_filtered_answer_counts_as_refused_and_one_without_text_as_nothing() -> None:
    filtered = refusal(observed("", finish_reason="content_filter"), RefusalOptions())
    assert filtered is not None
    assert filtered.bad
    assert refusal(observed("  "), RefusalOptions()) is None
