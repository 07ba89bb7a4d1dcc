"""``PartClient``: a part of the gateway in another process, over HTTP."""

from urllib.parse import quote

import aiohttp
from yarl import URL

from retrieval.errors import IndexUnavailable
from serving.config import GatewayConfig
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.knowledge.remote import RemoteKnowledge
from serving.parts.token import presented_token
from serving.parts.wire import (
    METRICS_PATH,
    SEARCH_PATH,
    error_from_json,
    request_to_json,
    result_from_json,
)
from serving.relay import Headers, PlainRequest, PlainResponse, Relay, control_timeout_s

_CONNECT_S = 3.0
"""How long a connection may take, in seconds: a pod that is gone does not refuse, it is silent."""
_SEARCH_S = 30.0
_LIMIT_S = 3600.0
"""For an answer; whoever asks has a limit of its own, which is shorter."""
_CONNECTIONS = 64
_OK = 200

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_OWN = frozenset((b"x-request-id", b"date", b"server"))
"""Headers of an answer that the gateway gives itself."""


class PartClient:
    """Asks one other process. Connections are kept; one that breaks before an answer has GET and DELETE sent once more.

    Args:
        url: its address, without a path.
        token: what it knows this installation's processes by.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def call(self, request: PlainRequest) -> PlainResponse:
        """Hand a request over as it is. Raises aiohttp.ClientError and TimeoutError."""
        method, path, query, headers, body = request
        kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _without(headers, _HOP_BY_HOP)]
        target = URL(f"{self._url}{quote(path)}" + (f"?{query.decode('latin-1')}" if query else ""), encoded=True)
        asking = self._open().request(method, target, headers=kept, data=body or None, allow_redirects=False)
        async with asking as response:
            answer = await response.read()
            raw = [(name.lower(), value) for name, value in response.raw_headers]
            return response.status, _without(raw, _HOP_BY_HOP | _OWN), answer

    async def search(self, request: SearchRequest) -> SearchResult:
        """Raises what the other side raised; IndexUnavailable, aiohttp.ClientError, TimeoutError: it cannot answer."""
        limit = aiohttp.ClientTimeout(total=_SEARCH_S, sock_connect=_CONNECT_S)
        headers = {**self._authorization(), "content-type": "application/json"}
        data = request_to_json(request)
        async with self._open().post(self._url + SEARCH_PATH, data=data, headers=headers, timeout=limit) as response:
            body = await response.read()
            if response.status == _OK:
                return result_from_json(body)
            error = error_from_json(body)
            raise error or IndexUnavailable(f"the knowledge process answered {response.status}")

    async def metrics_text(self) -> bytes:
        """What is measured there. Raises IndexUnavailable, aiohttp.ClientError, TimeoutError."""
        async with self._open().get(self._url + METRICS_PATH, headers=self._authorization()) as response:
            if response.status != _OK:
                raise IndexUnavailable(f"the knowledge process answered {response.status}")
            return await response.read()

    async def close(self) -> None:
        """Close its connections. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _authorization(self) -> dict[str, str]:
        return {} if self._token is None else {"authorization": f"Bearer {self._token}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=_LIMIT_S, sock_connect=_CONNECT_S),
                # A body that is compressed stays so on its way through.
                auto_decompress=False,
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


class RemoteParts:
    """What ``services`` names, as a gateway uses it."""

    def __init__(self, config: GatewayConfig) -> None:
        self._clients: list[PartClient] = []
        self.control: Relay | None = None
        """Answers for the control process; None where it is part of this gateway."""
        self.knowledge: RemoteKnowledge | None = None
        """Searches and answers for the knowledge process; None where it is part of this gateway."""
        services, token = config.services, presented_token(config)
        if services.control is not None:
            client = self._client(services.control.url)
            self.control = Relay(client.call, timeout_s=control_timeout_s(config))
        if services.knowledge is not None:
            # Generations wait for searches: they have connections of their own, which no upload holds.
            searching, handing = self._client(services.knowledge.url, token), self._client(services.knowledge.url)
            self.knowledge = RemoteKnowledge(searching.search, handing.call, searching.metrics_text)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()

    def _client(self, url: str, token: str | None = None) -> PartClient:
        client = PartClient(url, token=token)
        self._clients.append(client)
        return client


def _without(headers: Headers, names: frozenset[bytes]) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in names]
