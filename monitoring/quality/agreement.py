"""Whether several answers to one prompt agree.

A model that knows says the same each time; one that makes it up says something else each time (Wang et al.,
"Self-Consistency Improves Chain of Thought Reasoning", 2022; Manakul et al., "SelfCheckGPT", 2023).
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from monitoring.json_text import canonical, parse_json
from monitoring.quality.options import AgreementOptions
from monitoring.quality.types import Check, graded

# Letters of scripts that are written without spaces are words of their own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|\w+")
_LONGEST_JSON = 20_000


def self_consistency(samples: Sequence[str], options: AgreementOptions) -> Check | None:
    """Of answers to the same prompt, sampled at the same settings; None where there are fewer than two.

    Where all are short, or JSON, badness is the probability that two of them differ once normalised. Else it is graded
    by the mean over pairs of their words' F1 (as in SQuAD: Rajpurkar et al., 2016).
    """
    texts = [text for text in samples[: options.most_samples] if text.strip()]
    if len(texts) < 2:
        return None
    words = [_words(text)[: options.most_words] for text in texts]
    if max(map(len, words)) <= options.short_words or all(map(_is_json, texts)):
        forms = [_normal(text) for text in texts]
        pairs = [first == second for first, second in combinations(forms, 2)]
        badness = 1 - sum(pairs) / len(pairs)
    else:
        scores = [token_f1(first, second) for first, second in combinations(words, 2)]
        badness = graded(sum(scores) / len(scores), *options.f1)
    return Check("self_consistency", badness, f"{len(texts)} samples differ" if badness else "")


def token_f1(first: Sequence[str], second: Sequence[str]) -> float:
    """Harmonic mean of the shares of either's words that the other has, as often as it has them."""
    shared = (Counter(first) & Counter(second)).total()
    return 2 * shared / (len(first) + len(second)) if first or second else 1.0


def _normal(text: str) -> str:
    value = _read(text)
    return " ".join(_words(text)) if value is None else canonical(value)


def _is_json(text: str) -> bool:
    return _read(text) is not None


def _read(text: str) -> object | None:
    """The object or array that a text is; None for any other."""
    if len(text) > _LONGEST_JSON or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value: object = parse_json(text)
    except ValueError:
        return None
    return value


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
