"""Whether an answer says what its passages say, and cites what they hold. By words and numbers alone.

An answer that ignores its passages shares few of their content words; one that invents has numbers that stand nowhere.
Words of the prompt say nothing of either and are left out. This is unigram precision (Lin, "ROUGE", 2004) over words
cut to their stems' length, with numbers made strict. It sees neither paraphrase nor negation, and knows no arithmetic:
a share that falls says that answers come from elsewhere; that it is high proves no single claim.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

import regex

from monitoring.observed import ObservedAnswer
from monitoring.quality.languages import STOP_WORDS, LanguageDetector
from monitoring.quality.options import GroundingOptions
from monitoring.quality.types import BAD, Check, graded

_NUMBERS = r"\[[1-9]\d{0,2}(?:, ?[1-9]\d{0,2})*\]"
_MARKER = re.compile(_NUMBERS)
_MARKERS = re.compile(rf"([.!?\u3002])[ ]?((?:{_NUMBERS})+)")
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])(?=\s|$)|\n")
_LIST_NUMBER = re.compile(r"^[ \t]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_NAME = re.compile(r'"[^"\\\n]{0,80}"\s*:')
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_STEM = 6
"""Letters of a word that are compared: enough for most inflections not to matter."""
_SHORTEST = 3


def grounded(answer: ObservedAnswer, options: GroundingOptions, detector: LanguageDetector) -> Check | None:
    """Bad where few content words of the answer, or not all of its numbers, stand in its passages.

    None without passages and for more of them than are read, for an answer that calls tools or claims too little, and
    for one in another language than its passages, whose words cannot be compared.
    """
    text, sources = _read(answer, options)
    if not sources or sources != answer.passages or answer.tool_calls or not text.strip():
        return None
    if _differ(text, sources, detector):
        return None
    plain = _NAME.sub(" ", _LIST_NUMBER.sub(" ", _MARKER.sub(" ", text)))
    known, asked = " ".join(sources), answer.prompt[: options.most_characters]
    claimed = numbers(plain)
    lost = len(claimed - numbers(known) - numbers(asked))
    missing = max(lost, answer.unsupported_claims)
    wrong = missing / max(len(claimed), missing) if missing else 0.0
    words = content_words(plain) - content_words(asked)
    if len(words) < options.fewest_words:
        return Check("grounded", wrong, _told(0.0, wrong)) if claimed or missing else None
    covered = len(words & content_words(known)) / len(words)
    strange = graded(covered, *options.coverage)
    return Check("grounded", max(strange, wrong), _told(strange, wrong))


def citation(answer: ObservedAnswer, options: GroundingOptions, detector: LanguageDetector) -> Check | None:
    """One minus the precision of the citations: those are wrong that name a passage that was not given, or one that
    shares next to nothing with the sentence that cites it. A single wrong one makes the answer bad.

    None without citations, unless the task requires them of answers with passages; those that the gateway has counted
    count, and the places of the others are read from the markers in the text.
    """
    total = answer.citations + answer.dropped_citations
    if not total:
        if options.requires_citations and answer.passages and answer.answer.strip() and not answer.tool_calls:
            return Check("citation", 1.0, "cites nothing")
        return None
    text, sources = _read(answer, options)
    whole = [source if source == passage else None for source, passage in zip(sources, answer.passages, strict=True)]
    strange = 0 if _differ(text, sources, detector) else _strange_citations(text, whole, options.cited_overlap)
    wrong = answer.dropped_citations + min(strange, answer.citations)
    if not wrong:
        return Check("citation", 0.0)
    return Check("citation", max(wrong / total, BAD), f"{wrong} of {total} citations are wrong")


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text; ``1,000`` and ``1000`` are one."""
    found = _NUMBER.findall(unicodedata.normalize("NFKC", text))
    return frozenset(one.replace(",", "") if _GROUPED.fullmatch(one) else one for one in found)


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning, cut to six letters; of Chinese and Japanese pairs of letters."""
    words = [word.casefold() for word in _WORD.findall(unicodedata.normalize("NFKC", text))]
    return frozenset(stem for word in words if word not in STOP_WORDS for stem in _stems(word))


def _stems(word: str) -> Iterator[str]:
    if _DENSE.match(word):
        yield from (word[place : place + 2] for place in range(len(word) - 1))
    elif len(word) >= _SHORTEST:
        yield word[:_STEM]


def _strange_citations(text: str, sources: Sequence[str | None], least: float) -> int:
    """Markers whose passage holds too few words of the sentence that they stand in, or behind; None was not read."""
    known = {number: content_words(source) for number, source in enumerate(sources, start=1) if source is not None}
    count = 0
    for sentence in _SENTENCE_END.split(_MARKERS.sub(r" \2\1", text)):
        words = content_words(_MARKER.sub(" ", sentence))
        if len(words) < _SHORTEST:
            continue
        cited = {int(number) for marker in _MARKER.findall(sentence) for number in re.findall(r"\d+", marker)}
        shares = [len(words & known[number]) / len(words) for number in cited if number in known]
        count += sum(share < least for share in shares)
    return count


def _read(answer: ObservedAnswer, options: GroundingOptions) -> tuple[str, tuple[str, ...]]:
    """The beginnings of answer and passages that are read."""
    sources: list[str] = []
    left = options.most_characters
    for passage in answer.passages:
        sources.append(passage[:left])
        left = max(left - len(passage), 0)
    return answer.answer[: options.most_characters], tuple(sources)


def _differ(text: str, sources: tuple[str, ...], detector: LanguageDetector) -> bool:
    """Whether answer and passages are surely in two languages."""
    said, known = detector.detect(text), detector.detect(" ".join(sources))
    return said is not None and known is not None and said != known


def _told(strange: float, wrong: float) -> str:
    reasons = ["its words are not the passages'"] * (strange > 0) + ["its numbers are not the passages'"] * (wrong > 0)
    return ", ".join(reasons)
