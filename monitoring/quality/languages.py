"""Which language a text is in: by its script, and by function words where languages share one.

After Grefenstette, "Comparing two language identification schemes" (1995): in texts of a dozen words and more, small
words alone tell languages apart as well as trigrams do. A text that is short, mixed, or not clearly of one language
has no verdict. Danish and Norwegian, which differ in few words, often have none.
"""

import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import regex

from monitoring.quality.function_words import ARABIC, CYRILLIC, DEVANAGARI, LATIN


class LanguageDetector(Protocol):
    """Tells the language of a text. Thread-safe."""

    def detect(self, text: str) -> str | None:
        """Its ISO 639-1 code; None where it is not sure. Never raises, and ends soon whatever the text holds."""
        ...


# First code point of each block, and its script; "" is none of them.
_BLOCKS = (
    *((0x41, "latin"), (0x250, ""), (0x370, "greek"), (0x400, "cyrillic"), (0x530, "armenian"), (0x590, "hebrew")),
    *((0x600, "arabic"), (0x780, ""), (0x900, "devanagari"), (0x980, "bengali"), (0xA00, ""), (0xB80, "tamil")),
    *((0xC00, "telugu"), (0xC80, ""), (0xE00, "thai"), (0xE80, ""), (0x10A0, "georgian"), (0x1100, "hangul")),
    *((0x1200, ""), (0x1E00, "latin"), (0x1F00, "greek"), (0x2000, ""), (0x3040, "kana"), (0x3100, "")),
    *((0x3400, "han"), (0xA000, ""), (0xAC00, "hangul"), (0xD7B0, ""), (0xF900, "han"), (0xFB00, "")),
)
_STARTS = [start for start, _ in _BLOCKS]
_ALONE = {
    "greek": "el",
    "armenian": "hy",
    "hebrew": "he",
    "bengali": "bn",
    "tamil": "ta",
    "telugu": "te",
    "thai": "th",
    "georgian": "ka",
    "hangul": "ko",
}
"""Scripts of one language, as far as is told here."""
_WORDS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "latin": LATIN,
    "cyrillic": CYRILLIC,
    "arabic": ARABIC,
    "devanagari": DEVANAGARI,
}
_DENSE = ("han", "kana", "hangul", "thai")
"""A letter of these says as much as several of others."""
_WORD = regex.compile(r"[\p{L}\p{M}]+")

LANGUAGES = frozenset(("zh", "ja", *_ALONE.values(), *(code for languages in _WORDS.values() for code in languages)))
"""ISO 639-1 codes of all languages that are told."""


@dataclass(frozen=True, slots=True)
class FunctionWordDetector:
    """The built-in detector: no model, less than a millisecond for a page."""

    most_characters: int = 2000
    """Only the beginning of a text is read."""
    fewest_letters: int = 40
    """Of scripts that are written as an alphabet."""
    fewest_dense: int = 12
    """Of Chinese, Japanese, Korean, Thai."""
    share: float = 0.7
    """Share of a text's letters that its script must have."""
    density: float = 0.1
    """Share of the words that must be function words of the language, each counting the less, the more languages have
    it."""
    lead: float = 1.5
    """How many times more of them it must have than the next language."""

    def detect(self, text: str) -> str | None:
        """As :meth:`LanguageDetector.detect`."""
        read = unicodedata.normalize("NFC", text[: self.most_characters])
        counts = _scripts(read)
        letters = counts.total()
        asian = counts["han"] + counts["kana"]
        if 0 < asian >= max(self.fewest_dense, self.share * letters):
            return _of_han(counts["kana"] / asian)
        if not counts:
            return None
        script, most = counts.most_common(1)[0]
        fewest = self.fewest_dense if script in _DENSE else self.fewest_letters
        if most < fewest or most < self.share * letters:
            return None
        return self._by_words(read, _WORDS[script]) if script in _WORDS else _ALONE.get(script)

    def _by_words(self, text: str, languages: Mapping[str, frozenset[str]]) -> str | None:
        words = [word.casefold() for word in _WORD.findall(text)]
        weights = _weights(words, languages)
        found = sorted(((weight, code) for code, weight in weights.items()), reverse=True)
        (most, code), (next_most, _) = found[:2]
        clear = most >= self.density * len(words) and most >= self.lead * next_most and most > 1
        return code if clear else None


SHORT_TEXTS = FunctionWordDetector(fewest_letters=20, fewest_dense=6)
"""For comparing many texts with many, as drift does: what it gets wrong it gets wrong on both sides, so it may speak of
texts that are too short for a verdict on one answer."""


def _weights(words: Iterable[str], languages: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """For each language its function words in the text, each divided by the number of languages that have it."""
    weights = dict.fromkeys(languages, 0.0)
    for word, count in Counter(words).items():
        having = [code for code, known in languages.items() if word in known]
        for code in having:
            weights[code] += count / len(having)
    return weights


def _scripts(text: str) -> Counter[str]:
    """Letters by script."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script(character):
            counts[script] += count
    return counts


def _script(character: str) -> str:
    if not character.isalpha():
        return ""
    place = bisect_right(_STARTS, ord(character)) - 1
    return _BLOCKS[place][1] if place >= 0 else ""


def _of_han(kana: float) -> str | None:
    """Japanese is written with kana between its Han characters; Chinese has none."""
    if kana >= 0.15:
        return "ja"
    return "zh" if kana <= 0.03 else None


STOP_WORDS = frozenset(
    word for languages in _WORDS.values() for known in languages.values() for word in known if len(word) > 1
)
"""Function words of every language that is told apart here."""
