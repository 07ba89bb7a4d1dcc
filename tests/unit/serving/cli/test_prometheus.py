"""Asking a Prometheus."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.cli.client import REFUSED, SERVER_FAILED, UNREACHABLE, Failed
from serving.cli.prometheus import Prometheus, Series
from tests.live import served

MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"__name__": "x", "task": "a"},
                "values": [[1.0, "2"], [2.0, "NaN"], [3.5, "+Inf"], [4.0, "0.5"]],
            },
            {"metric": {"task": "b"}, "values": [[1.0, "NaN"]]},
        ],
    },
}
VECTOR = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"task": "a"}, "value": [7.0, "3"]}]},
}


class Asked:
    """A server that answers everything alike, and keeps what it was asked."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer
        self.paths: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.authorizations: list[str | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.paths.append(request.url.path)
        self.forms.append(parse_qs((await request.body()).decode()))
        self.authorizations.append(request.headers.get("authorization"))
        await self._answer(scope, receive, send)


async def ask(app: ASGIApp, call: Callable[[Prometheus], Any], path: str = "", user: str = "") -> Any:
    async with served(app) as url:
        prometheus = Prometheus(url.replace("://", f"://{user}") + path)
        try:
            return await asyncio.to_thread(call, prometheus)
        finally:
            prometheus.close()


async def test_a_range_is_asked_for_and_what_is_no_number_is_left_out() -> None:
    app = Asked(JSONResponse(MATRIX))
    found = await ask(app, lambda prometheus: prometheus.query_range("up", 10.0, 20.0, 5.0), path="/prom/")

    assert found == [Series({"task": "a"}, ((1.0, 2.0), (4.0, 0.5)))]
    assert found[0].last == 0.5
    assert app.paths == ["/prom/api/v1/query_range"]
    assert app.forms == [{"query": ["up"], "start": ["10.000"], "end": ["20.000"], "step": ["5"]}]


async def test_a_moment_is_asked_for() -> None:
    app = Asked(JSONResponse(VECTOR))
    assert await ask(app, lambda prometheus: prometheus.query("up", 7.0)) == [Series({"task": "a"}, ((7.0, 3.0),))]
    assert app.forms == [{"query": ["up"], "time": ["7.000"]}]


async def test_the_gateways_key_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_API_KEY", "a-secret-key")
    app = Asked(JSONResponse(VECTOR))
    await ask(app, lambda prometheus: prometheus.query("up", 7.0))
    assert app.authorizations == [None]


async def test_user_and_password_of_the_url_are_sent_and_not_shown() -> None:
    app = Asked(JSONResponse(VECTOR))
    shown = await ask(app, lambda it: (it.query("up", 7.0), it.shown)[1], user="olga:p%40ss@")

    assert app.authorizations == [f"Basic {base64.b64encode(b'olga:p@ss').decode()}"]
    assert "olga" not in shown
    assert "p%40ss" not in shown


@pytest.mark.parametrize(
    ("answer", "code", "exit_code", "words"),
    [
        (JSONResponse({"status": "error", "error": "parse error"}, 400), "prometheus_refused", REFUSED, "parse error"),
        (JSONResponse({"status": "error", "error": "down"}, 503), "prometheus_refused", SERVER_FAILED, "down"),
        (PlainTextResponse("hello"), "prometheus_refused", REFUSED, "nothing that a Prometheus says"),
        (JSONResponse({"status": "success"}), "prometheus_refused", REFUSED, "nothing that a Prometheus says"),
        (JSONResponse([1]), "prometheus_refused", REFUSED, "nothing that a Prometheus says"),
    ],
)
async def test_a_refusal_is_told(answer: Response, code: str, exit_code: int, words: str) -> None:
    with pytest.raises(Failed, match=words) as failure:
        await ask(Asked(answer), lambda prometheus: prometheus.query("up", 7.0))
    assert (failure.value.code, failure.value.exit_code) == (code, exit_code)


def test_where_nothing_listens_is_told_without_the_password() -> None:
    prometheus = Prometheus("http://olga:word@127.0.0.1:9")
    with pytest.raises(Failed, match=r"No Prometheus answers at http://127\.0\.0\.1:9") as failure:
        prometheus.query("up", 0.0)
    prometheus.close()
    assert failure.value.exit_code == UNREACHABLE
    assert "word" not in str(failure.value)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://prometheus", "http://", "http://prometheus:none"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Failed, match="is not an address"):
        Prometheus(url)
