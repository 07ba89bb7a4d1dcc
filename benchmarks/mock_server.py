"""An OpenAI-compatible server that answers at once, so that what is measured is the thing in front of it.

Raw asyncio protocol on httptools and uvloop. It speaks ``/v1/models``, chat and plain completions (streaming and
not), and vLLM's two routes for loading LoRA adapters at run time.

    python -m benchmarks.mock_server --port 8100
"""

import argparse
import asyncio
import hashlib
from typing import Any, cast

import httptools
import orjson
import uvloop

CHUNKS = 16
WORDS = tuple(f"word{index} " for index in range(CHUNKS))
JSON_TYPE = b"application/json"
EVENTS_TYPE = b"text/event-stream; charset=utf-8"


def answer_bytes(content: bytes, *, status: bytes = b"200 OK", kind: bytes = JSON_TYPE) -> bytes:
    """A whole HTTP/1.1 response."""
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(content))
    return head + content


def stream_bytes(events: list[bytes]) -> bytes:
    """A whole chunked response that carries ``events`` as server-sent events, one HTTP chunk each."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % EVENTS_TYPE
    return head + framed + b"0\r\n\r\n"


class MockModel:
    """Canned OpenAI answers, made once per kind of request."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.adapters: dict[str, str] = {}
        self._cache: dict[tuple[str, bool, bool, bool, str], bytes] = {}

    def respond(self, path: str, body: dict[str, Any]) -> bytes:
        """The response to a generation request."""
        model = str(body.get("model", self.model))
        if model != self.model and model not in self.adapters:
            message = f"The model `{model}` does not exist."
            error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
            return answer_bytes(orjson.dumps({"error": error}), status=b"404 Not Found")
        options = body.get("stream_options") or {}
        logprobs = bool(body.get("logprobs") or body.get("prompt_logprobs"))
        key = (path, bool(body.get("stream")), bool(options.get("include_usage")), logprobs, model)
        if key not in self._cache:
            self._cache[key] = self._make(*key)
        return self._cache[key]

    def _make(self, path: str, stream: bool, with_usage: bool, logprobs: bool, model: str) -> bytes:  # noqa: FBT001
        chat = path.endswith("/chat/completions")
        kind = "chat.completion" if chat else "text_completion"
        base = {"id": "mock-1", "object": kind, "created": 1700000000, "model": model}
        usage = {"prompt_tokens": 8, "completion_tokens": CHUNKS, "total_tokens": 8 + CHUNKS}
        if not stream:
            choice = _choice("".join(WORDS), chat=chat, finish="stop", delta=False)
            if logprobs:
                choice |= _logprobs(model, chat=chat)
            return answer_bytes(orjson.dumps(base | {"choices": [choice], "usage": usage}))
        base["object"] = "chat.completion.chunk" if chat else kind
        objects: list[dict[str, Any]] = [
            base | {"choices": [_choice(word, chat=chat, finish=None, delta=True)]} for word in WORDS
        ]
        objects[-1]["choices"][0]["finish_reason"] = "stop"
        if with_usage:
            objects.append(base | {"choices": [], "usage": usage})
        return stream_bytes([b"data: %b\n\n" % orjson.dumps(one) for one in objects] + [b"data: [DONE]\n\n"])

    def models(self) -> bytes:
        """The response to ``GET /v1/models``."""
        base = {"id": self.model, "object": "model", "created": 1700000000, "owned_by": "mock"}
        loaded = [
            base | {"id": name, "parent": self.model, "root": path} for name, path in sorted(self.adapters.items())
        ]
        return answer_bytes(orjson.dumps({"object": "list", "data": [base, *loaded]}))

    def load(self, body: dict[str, Any]) -> bytes:
        """vLLM's ``/v1/load_lora_adapter``."""
        self.adapters[str(body["lora_name"])] = str(body["lora_path"])
        return answer_bytes(b"Success", kind=b"text/plain")

    def unload(self, body: dict[str, Any]) -> bytes:
        """vLLM's ``/v1/unload_lora_adapter``."""
        if self.adapters.pop(str(body["lora_name"]), None) is None:
            return answer_bytes(b'{"error": {"message": "no such adapter"}}', status=b"404 Not Found")
        return answer_bytes(b"Success", kind=b"text/plain")


def _choice(text: str, *, chat: bool, finish: str | None, delta: bool) -> dict[str, Any]:
    if not chat:
        return {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    message = {"role": "assistant", "content": text}
    return {"index": 0, "delta" if delta else "message": message, "finish_reason": finish, "logprobs": None}


def _logprobs(model: str, *, chat: bool) -> dict[str, Any]:
    """Log-probabilities that differ from model to model, as those of real adapters do."""
    digest = hashlib.blake2b(model.encode(), digest_size=CHUNKS).digest()
    values = [-0.01 - byte / 256 for byte in digest]
    if not chat:
        tokens = {"tokens": list(WORDS), "token_logprobs": values}
        tops = [{word: value} for word, value in zip(WORDS, values, strict=True)]
        return {"logprobs": tokens | {"top_logprobs": tops}, "prompt_logprobs": None}
    content: list[dict[str, Any]] = [
        {"token": word, "logprob": value, "bytes": None, "top_logprobs": []}
        for word, value in zip(WORDS, values, strict=True)
    ]
    return {"logprobs": {"content": content}}


class MockProtocol(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, model: MockModel) -> None:
        self._model = model
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; it calls the methods below."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A new request starts."""
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        """A piece of the request's path."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        assert self._transport is not None
        self._transport.write(self._route(self._url.decode().partition("?")[0]))

    def _route(self, path: str) -> bytes:
        if path == "/v1/models":
            return self._model.models()
        if path in ("/health", "/healthz"):
            return answer_bytes(b"{}")
        body = b"".join(self._body)
        if path in ("/v1/chat/completions", "/v1/completions"):
            return self._model.respond(path, orjson.loads(body))
        if path == "/v1/load_lora_adapter":
            return self._model.load(orjson.loads(body))
        if path == "/v1/unload_lora_adapter":
            return self._model.unload(orjson.loads(body))
        return answer_bytes(b'{"error": {"message": "unknown URL"}}', status=b"404 Not Found")


async def serve(port: int, model: str) -> None:
    """Serve on loopback until cancelled."""
    canned = MockModel(model)
    server = await asyncio.get_running_loop().create_server(lambda: MockProtocol(canned), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--model", default="bench-model", help="the name that it answers to")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.model))


if __name__ == "__main__":
    main()
