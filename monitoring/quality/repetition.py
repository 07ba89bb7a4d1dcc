"""Whether an answer got into a loop. In linear time, over a bounded part of it."""

import re
import zlib

from monitoring.observed import ObservedAnswer
from monitoring.quality.options import RepetitionOptions
from monitoring.quality.types import Check, graded

# Letters of scripts that are written without spaces are words of their own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w+")
_JSON = re.compile(r"\s*(?:\{|\[\s*(?:[\[{\"]|-?[\d.]+\s*,))")
_N = 4
_N_DENSE = 8
"""Of texts whose words are mostly single letters."""


def repetition(answer: ObservedAnswer, options: RepetitionOptions) -> Check | None:
    """The worst of three measures: a loop at the end, the share of repeated n-grams, how well it compresses.

    Each sees what the others miss: the first a loop that has only begun, white space without end, and one within JSON;
    the second one whose rounds differ a little; the third one that was followed by something else. None without text.
    """
    text = answer.answer[-options.most_characters :]
    if not text:
        return None
    looped = looped_suffix(text[-options.loop_window :], options.loop_repeats)
    if looped >= options.loop_characters:
        return Check("repetition", 1.0, f"ends with {looped} characters of one unit")
    # By the whole answer: the part that is read may begin anywhere.
    is_json = _JSON.match(answer.answer) is not None
    limits = options.json_compression if is_json else options.compression
    times = compression(text) if len(text) >= options.fewest_bytes else 1.0
    found = [(graded(times, *limits), f"compresses {times:.1f}x")]
    words = _WORD.findall(text)
    if not is_json and len(words) >= options.fewest_words:
        share = repeated_ngrams(words)
        found.append((graded(share, *options.ngrams), f"repeats {share:.0%} of its n-grams"))
    badness, detail = max(found)
    return Check("repetition", badness, detail if badness else "")


def looped_suffix(text: str, repeats: int) -> int:
    """Length of the longest end of ``text`` that is one unit at least ``repeats`` times over, its rest included.

    The shortest period of a string is its length less that of its longest border (Knuth, Morris and Pratt, 1977), and
    a prefix of the text turned round is an end of it.
    """
    turned = text[::-1]
    borders = [0] * len(turned)
    longest = border = 0
    for place in range(1, len(turned)):
        while border and turned[place] != turned[border]:
            border = borders[border - 1]
        border += turned[place] == turned[border]
        borders[place] = border
        length = place + 1
        if length >= repeats * (length - border):
            longest = length
    return longest


def repeated_ngrams(words: list[str]) -> float:
    """Share of n-grams that have occurred before; 0 where there is none. Eight letters, where words are letters."""
    dense = sum(len(word) == 1 for word in words) * 2 > len(words)
    n = _N_DENSE if dense else _N
    grams = list(zip(*(words[shift:] for shift in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def compression(text: str) -> float:
    """How many times smaller zlib makes it."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) / len(zlib.compress(raw, 6))
