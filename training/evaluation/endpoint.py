"""``Endpoint``: one OpenAI-compatible URL, asked through the official SDK."""

import json
import re
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import openai

from training.errors import EndpointUnreachable
from training.evaluation.types import Answer, Case, Json

VERSION_HEADER = "x-loraplex-adapter"
"""Names the adapter version that answered."""
RETRIES = 5
"""Of a request that met 408, 409, 429, a server error or a broken connection. The SDK waits as long as Retry-After
says, or half a second, doubled each time up to 8 s."""
TIMEOUT_S = 600.0
_HALVES = re.compile("[\ud800-\udfff]")


class Endpoint:
    """Asks cases. Close it, or use it as an async context manager. Safe for concurrent use in one event loop.

    Args:
        base_url: with its path, such as ``http://host/v1``; ``/v1`` is added to an address without any path.
        api_key: empty where the endpoint wants none.
        retries: of requests that are worth sending again.
        timeout_s: for one request.
    """

    def __init__(
        self, base_url: str, api_key: str = "", *, retries: int = RETRIES, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.url = with_path(base_url)
        # The SDK refuses an empty key, and would look for one in the environment.
        self._client = openai.AsyncOpenAI(
            base_url=self.url, api_key=api_key or "none", max_retries=retries, timeout=timeout_s
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.close()

    async def reach(self) -> None:
        """Raises EndpointUnreachable where nothing answers; any HTTP answer will do."""
        try:
            await self._client.with_options(max_retries=0, timeout=10.0).models.list()
        except openai.APIConnectionError as error:
            raise EndpointUnreachable(f"nothing answers at {public_url(self.url)}: {_cause(error)}") from error
        except openai.OpenAIError:
            return

    async def ask(self, case: Case, *, model: str, parameters: Json) -> Answer:
        """The answer to one case; what went wrong is in its ``error``, and never raised."""
        body: Json = {"model": model, "messages": list(case.messages), **parameters}
        if case.tools:
            body["tools"] = list(case.tools)
        started = time.perf_counter()
        try:
            raw = await self._client.chat.completions.with_raw_response.create(**body)
            return _answer(raw.content, raw.headers.get(VERSION_HEADER), time.perf_counter() - started)
        except openai.APIStatusError as error:
            reason = f"{error.status_code} {error.code or ''}".strip() + f": {_message(error)}"
        except openai.APIConnectionError as error:
            reason = _cause(error)
        except openai.OpenAIError as error:
            reason = str(error)
        return Answer("", error=_mended(reason), seconds=time.perf_counter() - started)


def with_path(url: str) -> str:
    """``url`` with ``/v1`` where it has no path."""
    parts = urlsplit(url.strip())
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/v1"))


def public_url(url: str) -> str:
    """``url`` without the credentials that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _answer(content: bytes, version: str | None, seconds: float) -> Answer:
    """Read leniently: endpoints differ in what they leave out."""
    try:
        body = _whole(json.loads(content))
        choice = body["choices"][0]
        message = choice["message"]
        usage = body.get("usage") or {}
        return Answer(
            text=_text(message.get("content")),
            tool_calls=tuple(message.get("tool_calls") or ()),
            finish_reason=choice.get("finish_reason"),
            version=version,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            seconds=seconds,
            citations=tuple(message.get("annotations") or ()),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        start = content[:120].decode("utf-8", "replace")
        return Answer("", error=f"the endpoint's answer is no chat completion: {start!r}", seconds=seconds)


def _whole(value: Any) -> Any:
    """A JSON value without halves of surrogate pairs, which no file and no request can hold."""
    if isinstance(value, str):
        return _mended(value)
    if isinstance(value, dict):
        return {_mended(name): _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def _mended(text: str) -> str:
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    inner = body.get("message") if isinstance(body, dict) else None
    return inner if isinstance(inner, str) else error.message


def _cause(error: openai.APIConnectionError) -> str:
    return f"{error.message} {error.__cause__ or ''}".strip()
