"""Other servers that a configuration names: parts of the gateway in other processes, engines, models behind URLs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.config import GatewayConfig, OpenAIEngineSettings
from serving.doctor.finding import Finding, fail, ok, skip, warn
from serving.doctor.wire import Line, Reply, Unreachable

_TIMEOUT_S = 10.0
_REFUSED = (401, 403)
_BROKEN = 500
_NOT_FOUND = 404
_BAD = 400
_WORD = "doctor"


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """A server and the setting that names it."""

    setting: str
    url: str
    path: str
    """What is asked for, under ``url``."""
    key_env: str | None
    body: Mapping[str, Any] | None = None
    """What is sent there; None: it is only looked up."""


def services(config: GatewayConfig) -> Iterator[Finding]:
    """The processes that run parts of this gateway answer and are ready."""
    named = {"control": config.services.control, "knowledge": config.services.knowledge}
    there = {name: service for name, service in named.items() if service is not None}
    if not there:
        yield skip("services", "Every part runs in the gateway's own process.")
    for name, service in there.items():
        yield _service(name, service.url)
    knowledge = config.services.knowledge
    if knowledge is not None and not knowledge.is_loopback and not os.environ.get(config.services.token_env):
        yield fail(
            "services",
            f"The environment variable {config.services.token_env} is not set: nobody may search over the network.",
            "Set the same token for the gateways and for `loraplex serve --only knowledge`.",
        )


def _service(name: str, url: str) -> Finding:
    start = f"Is `loraplex serve --only {name}` running, and is `services.{name}.url` right?"
    try:
        line = Line(url, timeout_s=_TIMEOUT_S)
        if not line.get("/healthz").is_good:
            return fail("services", f"What answers at {url} is not the {name} process.", start)
        ready = line.get("/readyz")
    except Unreachable as error:
        return fail("services", f"The {name} process is not reached. {error}", start)
    if not ready.is_good:
        return fail("services", f"The {name} process at {url} is not ready: {ready.message}", "Its log says why.")
    return ok("services", f"The {name} process at {url} is ready.")


def servers(config: GatewayConfig) -> Iterator[Finding]:
    """Engines and models that other servers run are reached, and take the key."""
    neighbours = list(_neighbours(config))
    if not neighbours:
        yield skip("servers", "No engine or model is named by a URL.")
    for neighbour in neighbours:
        yield _server(neighbour)


def _neighbours(config: GatewayConfig) -> Iterator[_Neighbour]:
    engine, knowledge = config.engine, config.knowledge
    if isinstance(engine, OpenAIEngineSettings):
        yield _Neighbour("engine.url", engine.url, "/models", engine.api_key_env)
    if knowledge is None:
        return
    embedder, reranker = knowledge.embedder, knowledge.reranker
    if embedder.url is not None:
        body = {"model": embedder.model, "input": _WORD}
        yield _Neighbour("knowledge.embedder.url", embedder.url, "/embeddings", embedder.api_key_env, body)
    if reranker.url is not None:
        question = {"model": reranker.model, "query": _WORD, "documents": [_WORD]}
        yield _Neighbour("knowledge.reranker.url", reranker.url, "", reranker.api_key_env, question)
    for name, base in knowledge.bases.items():
        describer = base.chunking.describer
        if describer is not None:
            place = f"knowledge.bases.{name}.chunking.describer.url"
            yield _Neighbour(place, describer.url, "/models", describer.api_key_env)


def _server(neighbour: _Neighbour) -> Finding:
    key = os.environ.get(neighbour.key_env or "", "")
    place = f"`{neighbour.setting}`"
    root = neighbour.url.rstrip("/")
    version = "/v1" if root.endswith("/v1") else ""
    try:
        line, path = Line(root, key, timeout_s=_TIMEOUT_S), f"{version}{neighbour.path}"
        reply = line.get(path) if neighbour.body is None else line.post(path, neighbour.body)
    except Unreachable as error:
        return fail("servers", f"{place} is not reached. {error}", "Start that server, or correct the address.")
    return _judged(neighbour, reply)


def _judged(neighbour: _Neighbour, reply: Reply) -> Finding:
    place = f"`{neighbour.setting}`"
    if reply.status in _REFUSED:
        where = f"the environment variable {neighbour.key_env}" if neighbour.key_env else "one that `api_key_env` names"
        return fail("servers", f"{place} refuses the key ({reply.status}).", f"Put a key that it knows into {where}.")
    if reply.status >= _BROKEN:
        return fail("servers", f"{place} answers {reply.status}: {reply.message}", "Its own log says why.")
    if reply.status == _NOT_FOUND:
        return warn(
            "servers",
            f"{place} answers, and does not know {neighbour.url.rstrip('/')}{neighbour.path}.",
            "Is the path right? It ends in /v1 for most servers; for `reranker.url` it is the endpoint's own.",
        )
    if reply.status >= _BAD:
        return fail(
            "servers", f"{place} refuses a request ({reply.status}): {reply.message}", "Is the model's name right?"
        )
    return ok("servers", f"{place} answers.")
