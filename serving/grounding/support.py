"""What in a text the passages bear out: the sentence behind a citation, and claims that stand nowhere. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

_MARKERS = re.compile(r"\[\d{1,3}(?:, ?\d{1,3})*\]")
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])(?=\s|$)|\n")
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:[.,'\u2019\u00a0\u202f]\d+)*")
_SPACED_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?!\d)")
_GROUPED = re.compile(r"\d{1,3}(?:([.,'\u2019\u00a0\u202f])\d{3})(?:\1\d{3})*")
_LIST_NUMBER = re.compile(r"^[^\S\n]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_QUOTED = re.compile('"([^"\n]{3,300})"|\u201c([^\u201d\n]{3,300})\u201d|\u00ab([^\u00bb\n]{3,300})\u00bb')
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_WORDS = {word: str(value) for value, word in enumerate(f"{_SMALL} seventeen eighteen nineteen twenty".split())} | {
    word: str(value * 10)
    for value, word in enumerate(("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 3)
}
_MOST_QUOTE = 500
_REACH = 600
"""How far from its marker a sentence is looked for, in characters."""


def citing_sentence(text: str, start: int, end: int) -> str:
    """The sentence of ``text`` that the marker at ``start:end`` speaks for, without markers.

    A marker after a full stop speaks for the sentence before it; any other for the one that it stands in.
    """
    before = _MARKERS.sub(" ", text[max(0, start - _REACH) : start]).rstrip(" ")
    sentences = _sentences(before)
    if not sentences:
        return _first_sentence(text[end : end + _REACH])
    if before[-1] in ".!?\u3002\uff01\uff1f":
        return sentences[-1]
    if before[-1] == "\n":
        return _first_sentence(text[end : end + _REACH]) or sentences[-1]
    return f"{sentences[-1]} {_first_sentence(text[end : end + _REACH])}".strip()


class Quotable:
    """A passage's sentences, ready to be quoted."""

    def __init__(self, text: str) -> None:
        self._sentences = [(one, _words(one)) for one in _sentences(text)]
        self._frequency = Counter(word for _, words in self._sentences for word in words)

    def best(self, sentence: str) -> str:
        """The one that shares most with ``sentence``, verbatim and at most 500 characters; empty where none does.

        Shared words count the more, the fewer sentences of the passage have them; long sentences gain nothing by
        their length.
        """
        wanted = _words(sentence)
        best, best_score = "", 0.0
        for one, words in self._sentences:
            score = sum(1 / self._frequency[word] for word in wanted & words) / max(len(words), 1) ** 0.5
            if score > best_score:
                best, best_score = one, score
        return best[:_MOST_QUOTE]


def unsupported(text: str, sources: Sequence[str]) -> tuple[str, ...]:
    """Numbers and quoted strings of ``text`` that stand in none of ``sources``, as the text has them, each once.

    Numbers are compared by value: ``1,000``, ``1.000`` and ``1000`` are one, so are ``2.50`` and ``2,5``, and small
    numbers are known as English words. Markers and the numbers of lists are no claims.
    """
    plain = _LIST_NUMBER.sub(" ", _MARKERS.sub(" ", text))
    known = {value for source in sources for value in _all_values(source)}
    read = " ".join(_folded(source) for source in sources)
    missing = [number for number in _NUMBER.findall(plain) if known.isdisjoint(_values(number))]
    quotes = [next(filter(None, match.groups())) for match in _QUOTED.finditer(plain)]
    missing += [quote for quote in quotes if _folded(quote).strip(" .,;:!?") not in read]
    return tuple(dict.fromkeys(missing))


def _sentences(text: str) -> list[str]:
    return [part for raw in _SENTENCE_END.split(text) if (part := raw.strip())]


def _first_sentence(text: str) -> str:
    return next(iter(_sentences(_MARKERS.sub(" ", text))), "")


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _all_values(text: str) -> Iterator[str]:
    for number in _NUMBER.findall(text):
        yield from _values(number)
    for number in _SPACED_NUMBER.findall(text):
        yield number.replace(" ", "")
    for word in _words(text) & _WORDS.keys():
        yield _WORDS[word]


def _values(number: str) -> set[str]:
    """What a written number may mean; ``1.000`` may be a thousand or one."""
    readings = {re.sub(r"[.,'\u2019\u00a0\u202f]", "", number)} if _GROUPED.fullmatch(number) else set()
    for point, group in ((".", ","), (",", ".")):
        whole, _, decimals = number.partition(point)
        if point not in decimals and group not in decimals and _is_whole(whole):
            readings.add(f"{_digits(whole)}.{decimals}" if decimals else _digits(whole))
    return {_plain(reading) for reading in readings} or {number}


def _is_whole(number: str) -> bool:
    return number.isdecimal() or _GROUPED.fullmatch(number) is not None


def _digits(number: str) -> str:
    return "".join(sign for sign in number if sign.isdecimal())


def _plain(number: str) -> str:
    try:
        return format(Decimal(number).normalize(), "f")
    except InvalidOperation:
        return number
