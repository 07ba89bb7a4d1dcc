"""What is kept of an observed answer: numbers and names, no text but where it may be kept."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.observing.embedding import PromptEmbedder

Fact = dict[str, Any]
"""``task``, ``adapter``, ``role``, ``at``; ``checks``, pairs of name and badness; ``counts``, whether it is a finished
answer and not what was found out of one later; ``drift``, None for a request that
is not in the windows, else ``prompt_tokens``, ``answer_tokens``, ``language``, ``retrieval_score``, ``outcome``,
``text`` (None where it may not be kept), and once it is packed ``embedding`` and ``model``."""

_STORED = "<f2"
"""A unit vector's entries keep three digits."""
_EMBEDDED_AT_ONCE = 32


def packed(facts: Sequence[Fact], embedder: PromptEmbedder) -> list[Fact]:
    """The same with vectors in place of prompts. A fact's ``prompt``, where it has one, goes no further."""
    drawn = [fact for fact in facts if fact.get("prompt")]
    for start in range(0, len(drawn), _EMBEDDED_AT_ONCE):
        part = drawn[start : start + _EMBEDDED_AT_ONCE]
        vectors = embedder.vectors([fact["prompt"] for fact in part])
        if vectors is None:
            continue
        for fact, vector in zip(part, vectors, strict=True):
            if vector.any():
                fact["drift"] |= {"embedding": written(vector), "model": embedder.name}
    return [{name: value for name, value in fact.items() if name != "prompt"} for fact in facts]


def written(vector: NDArray[np.float32]) -> str:
    """A vector as text."""
    return base64.b64encode(np.asarray(vector, dtype=_STORED).tobytes()).decode("ascii")


def read(text: str) -> NDArray[np.float32]:
    """What :func:`written` gave. Raises ValueError."""
    found: NDArray[np.float32] = np.frombuffer(base64.b64decode(text, validate=True), dtype=_STORED).astype(np.float32)
    return found
