"""What chat completions, completions and responses have in common: body in, answer or event stream out."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import orjson
from starlette.types import Receive, Scope, Send

from serving.api.disconnect import UntilDisconnect
from serving.api.wire import CONTEXT, GatewayStatus, Header, RequestContext, read_json, send_json
from serving.engine.protocol import Endpoint, JsonObject
from serving.errors import NotReady
from serving.generate import Call, Generator
from serving.grounding.grounded import Grounded
from serving.tasks import Resolution

Encode = Callable[[JsonObject], bytes]

_STATUS_OK = 200
_SPLIT_FIELDS = ("user", "safety_identifier", "prompt_cache_key")
_TRACE_HEADERS = ("traceparent", "tracestate")
_EVENT_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Proxies such as nginx would otherwise collect the events.
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True, slots=True)
class Resource:
    """What is particular to one endpoint."""

    endpoint: Endpoint
    validate: Callable[[JsonObject], None]
    """Checks the fields that the gateway reads. Raises InvalidRequest."""
    encode: Encode
    """One event of a stream."""
    closing: bytes
    """The last bytes of a stream that ended well."""


def encode_data(event: JsonObject) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


class GenerationRoute:
    """The ASGI endpoint of one resource."""

    def __init__(self, resource: Resource, generator: Generator, status: GatewayStatus) -> None:
        self._resource = resource
        self._generator = generator
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what the middleware turns into an error answer."""
        context: RequestContext = scope[CONTEXT]
        body = await read_json(context, receive)
        self._resource.validate(body)
        if not self._status.ready:
            raise NotReady(f"The gateway is not ready: {self._status.message}.")
        call = self._call(context, body)
        context.counted = True
        async with UntilDisconnect(receive) as client:
            if body.get("stream"):
                await self._stream(call, client, send)
            else:
                await self._whole(call, client, send)

    def _call(self, context: RequestContext, body: JsonObject) -> Call:
        headers = context.headers
        trace = {name: headers[raw].decode("latin-1") for name in _TRACE_HEADERS if (raw := name.encode()) in headers}
        return Call(
            self._resource.endpoint,
            body,
            context.caller,
            context.engine_id,
            context.arrived,
            _split_key(context, body),
            trace,
            context.request_id,
        )

    async def _whole(self, call: Call, client: UntilDisconnect, send: Send) -> None:
        answer = await self._generator.complete(call)
        headers = _headers(answer.resolution, answer.grounded)
        if answer.contract is not None:
            headers.append((b"x-loraplex-contract", answer.contract.encode()))
        client.stop_watching()
        await send_json(send, _STATUS_OK, answer.body, headers)

    async def _stream(self, call: Call, client: UntilDisconnect, send: Send) -> None:
        encode, closing = self._resource.encode, self._resource.closing
        async with self._generator.stream(call) as stream:
            generation = stream.generation
            headers = [*_EVENT_STREAM, *_headers(generation.resolution, generation.grounded)]
            await send({"type": "http.response.start", "status": _STATUS_OK, "headers": headers})
            async for events in stream:
                payload = b"".join(map(encode, events))
                if stream.ended:
                    break
                began = perf_counter()
                await send({"type": "http.response.body", "body": payload, "more_body": True})
                stream.sent(perf_counter() - began)
            else:
                payload = b""
            client.stop_watching()
            payload += b"" if stream.failed else closing
            await send({"type": "http.response.body", "body": payload})


def _headers(resolution: Resolution, grounded: Grounded | None) -> list[Header]:
    headers = [(b"x-loraplex-adapter", resolution.adapter.encode())]
    if resolution.task is not None:
        headers.append((b"x-loraplex-task", resolution.model.encode()))
    if grounded is not None:
        headers.append((b"x-loraplex-retrieval", grounded.outcome.encode()))
        headers.append((b"x-loraplex-passages", b"%d" % len(grounded.passages)))
    return headers


def _split_key(context: RequestContext, body: JsonObject) -> str:
    """What keeps one caller on one side of a canary."""
    given = context.headers.get(b"x-loraplex-caller-key")
    if given:
        return given.decode("latin-1")
    for name in _SPLIT_FIELDS:
        value = body.get(name)
        if value and isinstance(value, str):
            return value
    return context.request_id
