"""``GET /v1/fine_tuning/jobs/{id}/events?stream=true``: events as they happen, as server-sent events.

The control plane may be in another process, whose answers come in one piece. So the stream is made here, in the
replica, out of pages of the list that the control plane gives: it sees no more than the caller may.
"""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.relay import PlainResponse, answer

PATH = "/v1/fine_tuning/jobs/{job_id}/events"

_ENDED = ("succeeded", "failed", "cancelled")
_OK = 200
_GONE = (401, 403, 404)
_PAGE = "100"
_LOOK_S = 1.0
_QUIET_LOOKS = 15
"""Looks without an event after which a comment keeps the connection open."""
_JOB = re.compile(r"(/v1/fine_tuning/jobs/[^/]+)/events")


class EventStream:
    """Answers the events of a job: streamed where that is asked for, else as ``control`` does.

    Args:
        look_s: how often the control plane is asked for more, in seconds.
    """

    def __init__(self, control: ASGIApp, *, look_s: float = _LOOK_S) -> None:
        self._control = control
        self._look_s = look_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        job = _JOB.fullmatch(scope["path"])
        if query.get("stream") != "true" or scope["method"] != "GET" or job is None:
            await self._control(scope, receive, send)
            return
        after = {"after": query["after"]} if "after" in query else {}
        first = await self._page(scope, after)
        if first[0] != _OK:
            status, headers, body = first
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.start", "status": _OK, "headers": _HEADERS})
        streaming = asyncio.create_task(self._stream(scope, send, job[1], first, after))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (streaming, leaving):
            task.cancel()
        await asyncio.gather(streaming, leaving, return_exceptions=True)

    async def _stream(self, scope: Scope, send: Send, job: str, first: PlainResponse, after: dict[str, str]) -> None:
        page, quiet, ended = first, 0, False
        while True:
            entries = _entries(page)
            for entry in entries:
                await _send_piece(send, b"data: " + orjson.dumps(entry) + b"\n\n")
            if entries:
                after, quiet = {"after": entries[-1]["id"]}, 0
            elif ended:
                await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
                return
            else:
                # Asked before the next page: what is told of the end is in it.
                ended = await self._has_ended(scope, job)
                quiet += 1
                if quiet % _QUIET_LOOKS == 0:
                    await _send_piece(send, b": nothing new\n\n")
                if not ended:
                    await asyncio.sleep(self._look_s)
            page = await self._page(scope, after)

    async def _page(self, scope: Scope, after: dict[str, str]) -> PlainResponse:
        query = urlencode({"order": "asc", "limit": _PAGE, **after}).encode()
        return await answer(self._control, ("GET", scope["path"], query, list(scope["headers"]), b""))

    async def _has_ended(self, scope: Scope, job: str) -> bool:
        status, _, body = await answer(self._control, ("GET", job, b"", list(scope["headers"]), b""))
        if status in _GONE:
            return True
        return status == _OK and orjson.loads(body)["status"] in _ENDED


_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


def _entries(page: PlainResponse) -> list[dict[str, Any]]:
    """The events of a page; none where the control plane is away for the moment."""
    if page[0] != _OK:
        return []
    data: list[dict[str, Any]] = orjson.loads(page[2])["data"]
    return data


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
