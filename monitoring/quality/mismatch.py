"""Whether an answer is in the language of its prompt."""

import re

from monitoring.observed import ObservedAnswer
from monitoring.quality.languages import LanguageDetector
from monitoring.quality.options import LanguageOptions
from monitoring.quality.types import Check

_MOST = 4000
_END = 500
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
# Words for translating, and names of languages: a prompt with one of them may ask for another language than its own.
_ASKS = re.compile(
    r"translat|übersetz|traduc|tradui|tradur|traduz|vertaal|vertal|översätt|tłumacz|перевед|перевод|переклад|翻译|翻譯|"
    r"翻訳|번역|çevir|ترجم|अनुवाद|"
    r"\b(?:english|german|french|spanish|italian|portuguese|dutch|swedish|danish|norwegian|polish|czech|romanian|"
    r"hungarian|finnish|turkish|russian|ukrainian|arabic|hindi|chinese|mandarin|japanese|korean|vietnamese|latin|"
    r"indonesian|greek|hebrew|thai|persian|urdu|"
    r"englisch\w*|deutsch\w*|französisch\w*|spanisch\w*|italienisch\w*|russisch\w*|chinesisch\w*|japanisch\w*|"
    r"anglais|allemand|français|espagnol|italien|portugais|russe|chinois|japonais|"
    r"inglés|alemán|francés|español|italiano|portugués|ruso|chino|japonés|"
    r"inglese|tedesco|francese|spagnolo|inglês|alemão|francês|espanhol|engels|duits|frans|spaans|engelska|tyska|"
    r"angielsk\w*|niemieck\w*|английск\w*|немецк\w*|французск\w*|русск\w*|ingilizce|almanca|fransızca)\b|"
    r"英语|英文|中文|汉语|日语|日文|法语|德语|英語|日本語|中国語|韓国語|ドイツ語|フランス語|영어|한국어|일본어|중국어",
    re.IGNORECASE,
)


def mismatch(answer: ObservedAnswer, options: LanguageOptions, detector: LanguageDetector) -> Check | None:
    """Bad where the answer is in another language than it should be.

    None where either language is not sure, where the prompt asks for a language or a translation, or is itself of
    two, and for answers that are no prose. A prompt with a long quotation in another language is taken for one in that
    language, and the answer then for a mismatch: read the rate, not the single verdict.
    """
    if not options.enabled or not is_prose(answer):
        return None
    wanted = options.expected or _asked_in(answer.prompt, detector)
    said = None if wanted is None else detector.detect(prose(answer.answer))
    if wanted is None or said is None:
        return None
    return Check("language", 0.0) if said == wanted else Check("language", 1.0, f"{said} instead of {wanted}")


def is_prose(answer: ObservedAnswer) -> bool:
    """Whether the answer is text for people: no contract, and neither JSON nor markup by its beginning."""
    return answer.contract is None and not answer.answer.lstrip().startswith(("{", "[{", "<"))


def prose(text: str) -> str:
    """The beginning of a text without code and addresses."""
    return _CODE.sub(" ", text[:_MOST])


def _asked_in(prompt: str, detector: LanguageDetector) -> str | None:
    """The language of a prompt; None where its beginning and its end are in two, or it may ask for another."""
    ends = prompt[:_END], prompt[-_END:]
    if any(_ASKS.search(end) for end in ends):
        return None
    found = {detector.detect(prose(part)) for part in {*ends, prompt}} - {None}
    return found.pop() if len(found) == 1 else None
