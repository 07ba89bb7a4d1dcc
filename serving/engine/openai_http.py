"""``OpenAIHttpEngine``: any server that speaks the OpenAI API."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from adapters.types import Tier
from serving.config import AdapterSettings, OpenAIEngineSettings
from serving.engine.protocol import (
    AdapterCapacity,
    Endpoint,
    EngineAdapterError,
    EngineError,
    EngineFailed,
    EngineInfo,
    EngineRequest,
    EngineUnavailable,
    JsonObject,
    Progress,
    ResidentAdapter,
)
from serving.engine.sse import SseSplitter
from serving.engine.timings import note_timings
from serving.engine.translation import translate
from serving.errors import ConfigInvalid

_CONNECT_TIMEOUT_S = 10.0
_CONTROL_TIMEOUT_S = 10.0
_READ_BUFFER = 256 * 1024
_PATHS = {
    Endpoint.CHAT: "chat/completions",
    Endpoint.COMPLETIONS: "completions",
    Endpoint.RESPONSES: "responses",
}
_TRACE_HEADERS = ("traceparent", "tracestate")


class OpenAIHttpEngine:
    """A client of a server elsewhere: connections are kept, bodies pass through as they are."""

    def __init__(self, settings: OpenAIEngineSettings, model_name: str, adapters: AdapterSettings) -> None:
        self._settings = settings
        self._public_name = model_name
        self._model = settings.model or model_name
        self._adapter_settings = adapters
        self._base = settings.url.rstrip("/")
        self._urls = {endpoint: URL(f"{self._base}/{path}") for endpoint, path in _PATHS.items()}
        self._session: aiohttp.ClientSession | None = None
        self._loaded: set[str] = set()
        self._users: dict[str, int] = {}
        self._never = asyncio.Event()

    async def start(self, progress: Progress) -> EngineInfo:
        """Connect, and see that the server answers. Raises EngineUnavailable, ConfigInvalid."""
        progress(f"connecting to {self._base}")
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.connections, keepalive_timeout=60),
            timeout=timeout,
            headers={"content-type": "application/json", "accept-encoding": "identity", **self._authorization()},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
        )
        try:
            models = await self._models()
        except BaseException:
            await self.stop()
            raise
        card = next((card for card in models if card.get("id") == self._model), {})
        settings, capacity = self._adapter_settings, None
        if self._settings.adapters == "vllm" and settings.enabled:
            capacity = AdapterCapacity(settings.slots, settings.cpu_slots, settings.max_rank)
        return EngineInfo(self._public_name, card.get("max_model_len"), capacity, version=f"openai {self._base}")

    async def stop(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def dead(self) -> None:
        """Never: a server elsewhere that goes away may come back."""
        await self._never.wait()

    async def complete(self, request: EngineRequest) -> JsonObject:
        """The whole answer."""
        self._enter(request.adapter)
        try:
            response = await self._send(request, stream=False)
            async with response:
                answer = await self._body(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        finally:
            self._leave(request.adapter)
        answer["model"] = request.adapter or self._public_name
        note_timings(request.timings, answer)
        return answer

    async def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """The answer, an object for each event."""
        self._enter(request.adapter)
        name, splitter = request.adapter or self._public_name, SseSplitter()
        response: aiohttp.ClientResponse | None = None
        ended = False
        try:
            response = await self._send(request, stream=True)
            async for data in response.content.iter_any():
                for event in splitter.feed(data):
                    if event == b"[DONE]":
                        ended = True
                        continue
                    piece = orjson.loads(event)
                    if "error" in piece and piece.get("error") is not None and "choices" not in piece:
                        raise self._error(HTTPStatus.INTERNAL_SERVER_ERROR, piece, request.adapter)
                    if "model" in piece:
                        piece["model"] = name
                    note_timings(request.timings, piece)
                    ended = ended or piece.get("type", "") in _LAST_EVENTS
                    yield piece
            if not ended:
                raise EngineUnavailable("The engine's server ended the stream before its end.")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        except orjson.JSONDecodeError as error:
            raise EngineFailed("The engine's server sent an event that is not JSON.") from error
        finally:
            self._leave(request.adapter)
            if response is not None:
                # Closing, not releasing: a server learns from it that nobody reads on, and stops generating.
                response.release() if ended and response.content.at_eof() else response.close()

    async def load_adapter(self, name: str, path: Path) -> None:
        """Have the server load ``path``, which it must see under the same name."""
        self._need_adapters(name)
        if name in self._loaded:
            raise EngineAdapterError(f"cannot load {name}: it is loaded already")
        if len(self._loaded) >= self._adapter_settings.cpu_slots:
            raise EngineAdapterError(f"cannot load {name}: all {self._adapter_settings.cpu_slots} places are taken")
        status, text = await self._control("load_lora_adapter", {"lora_name": name, "lora_path": str(path.resolve())})
        # Names stand for content: one that an earlier gateway left there is the same adapter.
        if status != HTTPStatus.OK and "already been loaded" not in text:
            raise EngineAdapterError(f"cannot load {name}: {text}")
        self._loaded.add(name)

    async def unload_adapter(self, name: str) -> None:
        """Have the server let go of ``name``."""
        if name in self._users:
            raise EngineAdapterError(f"cannot unload {name}: {self._users[name]} requests use it")
        if name not in self._loaded:
            return
        status, text = await self._control("unload_lora_adapter", {"lora_name": name})
        if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            raise EngineAdapterError(f"cannot unload {name}: {text}")
        self._loaded.discard(name)

    async def resident(self) -> Sequence[ResidentAdapter]:
        """The adapters in the server's list of models."""
        if self._settings.adapters == "none":
            return []
        models = await self._models()
        return [ResidentAdapter(str(card["id"]), Tier.CPU) for card in models if card.get("parent")]

    async def check_health(self) -> None:
        """Raises EngineUnavailable if the server does not answer."""
        await self._models()

    def metrics_text(self) -> bytes:
        """Nothing: the server's metrics are the server's."""
        return b""

    # Inside

    def _authorization(self) -> dict[str, str]:
        variable = self._settings.api_key_env
        if variable is None:
            return {}
        key = os.environ.get(variable)
        if not key:
            raise ConfigInvalid(f"`engine.api_key_env`: the environment has no {variable}")
        return {"authorization": f"Bearer {key}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise EngineUnavailable("The engine is not running.")
        return self._session

    def _enter(self, adapter: str | None) -> None:
        if adapter is None:
            return
        if adapter not in self._loaded:
            raise EngineAdapterError(f"the adapter {adapter} is not loaded")
        self._users[adapter] = self._users.get(adapter, 0) + 1

    def _leave(self, adapter: str | None) -> None:
        if adapter is None:
            return
        self._users[adapter] -= 1
        if not self._users[adapter]:
            del self._users[adapter]

    def _need_adapters(self, name: str) -> None:
        self._open()
        if self._settings.adapters == "none" or not self._adapter_settings.enabled:
            raise EngineAdapterError(f"cannot load {name}: `engine.adapters` is `none`")

    async def _send(self, request: EngineRequest, *, stream: bool) -> aiohttp.ClientResponse:
        """The server's answer with status 200, its body unread. Raises EngineError, aiohttp.ClientError."""
        body = {**request.body, "model": request.adapter or self._model, "stream": stream}
        if stream and request.endpoint is not Endpoint.RESPONSES:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        headers = {name: request.headers[name] for name in _TRACE_HEADERS if name in request.headers}
        response = await self._post(self._urls[request.endpoint], orjson.dumps(body), headers)
        if response.status == HTTPStatus.OK:
            return response
        async with response:
            raise self._error(response.status, _json_or_text(await response.read()), request.adapter)

    async def _post(self, url: URL, data: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        session = self._open()
        try:
            return await session.post(url, data=data, headers=headers, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server had closed meanwhile: nothing came back, so nothing was answered.
            return await session.post(url, data=data, headers=headers, allow_redirects=False)

    async def _body(self, response: aiohttp.ClientResponse) -> JsonObject:
        body = _json_or_text(await response.read())
        if not isinstance(body, dict):
            raise EngineFailed("The engine's server sent an answer that is not a JSON object.")
        return body

    async def _models(self) -> list[JsonObject]:
        timeout = aiohttp.ClientTimeout(total=_CONTROL_TIMEOUT_S)
        try:
            async with self._open().get(f"{self._base}/models", timeout=timeout) as response:
                body = _json_or_text(await response.read())
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if status != HTTPStatus.OK or not isinstance(body, dict):
            raise EngineUnavailable(f"{self._base}/models answered with status {status}.")
        return list(body.get("data") or ())

    async def _control(self, path: str, body: JsonObject) -> tuple[int, str]:
        try:
            response = await self._post(URL(f"{self._base}/{path}"), orjson.dumps(body), {})
            async with response:
                content = _json_or_text(await response.read())
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if status == HTTPStatus.NOT_FOUND and not (isinstance(content, dict) and "error" in content):
            raise EngineAdapterError(f"{self._base} has no {path}: set VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 over there")
        return status, _message(content)

    def _unreachable(self, error: Exception) -> EngineError:
        if isinstance(error, TimeoutError):
            return EngineUnavailable(f"The engine's server did not answer within {self._settings.timeout_s:g} s.")
        return EngineUnavailable(f"The engine's server cannot be reached: {error or type(error).__name__}")

    def _error(self, status: int, body: Any, adapter: str | None) -> EngineError:
        error = body.get("error") if isinstance(body, dict) else None
        details: JsonObject = error if isinstance(error, dict) else {}
        code = details.get("code")
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(code, int) and 400 <= code < 600:
            status = code
        message = _message(body)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return EngineFailed("The engine's server refuses the gateway's credentials.")
        if status == HTTPStatus.NOT_FOUND:
            if adapter is not None:
                return EngineAdapterError(f"the adapter {adapter} is not loaded over there: {message}")
            return EngineFailed(f"The engine's server does not serve {self._model}: {message}")
        return translate(message, status, param=details.get("param"), code=code)


_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


def _json_or_text(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")


def _message(body: Any) -> str:
    if isinstance(body, dict):
        error = body.get("error", body)
        return str(error.get("message", error) if isinstance(error, dict) else error)
    return str(body)[:500]
