"""Languages of texts, and answers in another one than their prompts."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.observed import Contract
from monitoring.quality.languages import LANGUAGES, SHORT_TEXTS, FunctionWordDetector
from monitoring.quality.mismatch import mismatch
from monitoring.quality.options import LanguageOptions
from tests.observed_answers import ANSWER, observed

_GERMAN = "Ihr Paket hat das Lager am Montag verlassen und wird in den nächsten drei Tagen bei Ihnen sein."
_TEXTS = [
    ("en", ANSWER),
    ("de", _GERMAN),
    ("fr", "Votre colis a quitté notre entrepôt lundi et il sera chez vous dans les trois jours qui suivent."),
    ("es", "Su paquete salió del almacén el lunes y llegará a su casa en los próximos tres días, según lo que dicen."),
    ("it", "Il suo pacco ha lasciato il magazzino lunedì e sarà da lei nei prossimi tre giorni, come è stato detto."),
    ("pt", "A sua encomenda saiu do armazém na segunda-feira e não vai demorar mais do que três dias até você."),
    ("nl", "Uw pakket heeft het magazijn op maandag verlaten en zal binnen drie dagen bij u worden bezorgd."),
    ("pl", "Państwa paczka opuściła magazyn w poniedziałek i jest już w drodze, ale nie wiadomo, czy będzie."),
    ("ru", "Ваша посылка покинула склад в понедельник, и она будет у вас через три дня, но это не точно."),
    ("uk", "Ваша посилка покинула склад у понеділок, і вона буде у вас через три дні, але це ще не точно."),
    ("el", "Το δέμα σας έφυγε από την αποθήκη τη Δευτέρα και θα φτάσει σε τρεις ημέρες."),
    ("zh", "您的包裹已于星期一离开仓库，将在三天之内送达。"),
    ("ja", "お荷物は月曜日に倉庫を出ており、三日以内にお届けいたします。"),
    ("ko", "고객님의 소포는 월요일에 창고를 출발했으며 사흘 안에 도착할 예정입니다."),
]


@pytest.mark.parametrize(("language", "text"), _TEXTS)
def test_a_sentence_has_its_language(language: str, text: str) -> None:
    assert FunctionWordDetector().detect(text) == language


def test_every_language_that_is_found_is_listed() -> None:
    assert {language for language, _ in _TEXTS} <= LANGUAGES
    assert len(LANGUAGES) == 37


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK.",
        "Leeds, Hamburg, Porto",
        "12345 67890 +++ !!! ... 12345 67890 12345",
        "x = foo(bar, baz); y = quux(x) ** 2; print(y, file=stderr)",
        "parcel warehouse Leeds Monday delivery customs label tracking",
        f"{ANSWER} {_TEXTS[8][1]}",
        "\ud800" * 100,
    ],
)
def test_what_is_short_mixed_or_no_prose_has_none(text: str) -> None:
    assert FunctionWordDetector().detect(text) is None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "When will my new card be here?"),
        ("de", "Wann kommt meine neue Karte bei mir an?"),
        ("zh", "我的卡在哪里呢"),
    ],
)
def test_where_many_texts_are_compared_shorter_ones_have_a_language(language: str, text: str) -> None:
    assert FunctionWordDetector().detect(text) is None
    assert SHORT_TEXTS.detect(text) == language


@given(st.text(max_size=300))
def test_no_text_makes_the_detector_fail(text: str) -> None:
    FunctionWordDetector().detect(text)


def _badness(answer: str, options: LanguageOptions | None = None, **changes: Any) -> float | None:
    check = mismatch(observed(answer, **changes), options or LanguageOptions(), FunctionWordDetector())
    return None if check is None else check.badness


def test_an_answer_in_another_language_than_its_prompt_is_bad() -> None:
    assert _badness(ANSWER) == 0
    assert _badness(_GERMAN) == 1


@pytest.mark.parametrize(
    ("answer", "changes"),
    [
        ("OK.", {}),
        (_GERMAN, {"prompt": "Hi"}),
        (_GERMAN, {"prompt": "Please translate this for me, so that my neighbour can read what you wrote."}),
        (_GERMAN, {"prompt": "Where is my parcel now, and when will it be here? I want the answer to be in German."}),
        (_GERMAN, {"contract": Contract("regex")}),
        ('{"text": "' + _GERMAN + '"}', {}),
        ("```\n" + _GERMAN + "\n```", {}),
    ],
)
def test_there_is_no_verdict_where_another_language_may_be_right(answer: str, changes: dict[str, Any]) -> None:
    assert _badness(answer, **changes) is None


def test_a_prompt_in_two_languages_has_no_verdict() -> None:
    english = "Where is my parcel now, and when will it be here? I have been waiting for it since last week. " * 8
    assert _badness(_GERMAN, prompt=english + _GERMAN * 8) is None


def test_a_task_can_have_one_language_whatever_the_prompts_are_in() -> None:
    german = LanguageOptions(expected="de")
    assert _badness(_GERMAN, german) == 0
    assert _badness(ANSWER, german) == 1


def test_a_task_that_translates_can_switch_it_off() -> None:
    assert _badness(_GERMAN, LanguageOptions(enabled=False)) is None


@dataclass
class _Constant:
    """A detector that always says the same."""

    code: str | None

    def detect(self, text: str) -> str | None:
        return self.code


def test_any_detector_will_do() -> None:
    options = LanguageOptions(expected="tlh")
    same, other, unsure = (mismatch(observed(), options, _Constant(code)) for code in ("tlh", "en", None))
    assert same is not None
    assert other is not None
    assert (same.badness, other.badness, unsure) == (0, 1, None)
    assert other.detail == "en instead of tlh"
