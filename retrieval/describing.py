"""``Describer``: a sentence that places a passage in its document, written by a model.

Contextual retrieval (Anthropic, 2024): a passage that says "it rose by 3 %" is found by what the sentence adds, such as
which company's revenue, in which quarter.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import httpx

from retrieval.errors import DescriberUnavailable
from retrieval.refusal import refuse_rejected

_LONGEST_DOCUMENT = 12_000
"""Characters of the document around a passage that the model reads."""
_REMEMBERED = 20_000
_PROMPT = """<document>
{document}
</document>

Here is a passage of that document:

<passage>
{passage}
</passage>

Write one short sentence that says what this passage is about and where in the document it stands, so that it can be \
found by itself. Answer with the sentence alone."""


class Describer(Protocol):
    """Writes contexts. Thread-safe. Describing raises DescriberUnavailable."""

    max_tokens: int
    """Of a sentence, at most, in tokens of its own model."""

    def describe(self, document: str, passages: Sequence[str]) -> list[str]:
        """One sentence for each passage of the document; empty where the model has nothing to say."""
        ...


class OpenAIDescriber:
    """A model behind an OpenAI-compatible ``/v1/chat/completions``, such as the gateway's own.

    Sentences are remembered by document and passage, so that what is ingested again is not written again.

    Args:
        url: the part before ``/chat/completions``.
        model: its name there.
        api_key: sent as a bearer token.
        max_tokens: of a sentence.
        timeout_s: of one request.
    """

    def __init__(
        self, url: str, model: str, *, api_key: str = "", max_tokens: int = 64, timeout_s: float = 60.0
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(timeout=timeout_s, headers=headers, transport=httpx.HTTPTransport(retries=2))
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._remembering = threading.Lock()
        self._remembered: OrderedDict[bytes, str] = OrderedDict()
        self.max_tokens = max_tokens

    def describe(self, document: str, passages: Sequence[str]) -> list[str]:
        """See Describer."""
        return [self._sentence(_around(document, passage), passage) for passage in passages]

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _sentence(self, document: str, passage: str) -> str:
        prompt = _PROMPT.format(document=document, passage=passage)
        key = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
        with self._remembering:
            if (known := self._remembered.get(key)) is not None:
                return known
        sentence = self._written(prompt)
        with self._remembering:
            self._remembered[key] = sentence
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return sentence

    def _written(self, prompt: str) -> str:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_completion_tokens": self.max_tokens,
        }
        try:
            response = self._client.post(self._url, json=body)
            refuse_rejected(response, self._url)
            answer = response.raise_for_status().json()
            content = answer["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            raise DescriberUnavailable(f"{self._url} did not describe a passage: {error}") from error
        return " ".join(content.split()) if isinstance(content, str) else ""


def _around(document: str, passage: str) -> str:
    """As much of the document as the model reads, with the passage in its middle."""
    if len(document) <= _LONGEST_DOCUMENT:
        return document
    middle = max(document.find(passage[:200]), 0) + len(passage) // 2
    start = min(max(middle - _LONGEST_DOCUMENT // 2, 0), len(document) - _LONGEST_DOCUMENT)
    return document[start : start + _LONGEST_DOCUMENT]
