"""One real, tiny request, whole and streamed: is it answered, by the version that it should be, and delta by delta?"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.doctor.finding import Finding, fail, ok, skip, warn
from serving.doctor.visit import Visit
from serving.doctor.wire import Arrival, Reply
from serving.tasks import BASE

PATH = "/v1/chat/completions"

_PROMPT = "Write the numbers from one to twenty as words, one after the other, and nothing else besides them."
_MAX_TOKENS = 48
_TELLING_S = 0.25
"""A stream that is over sooner says nothing about buffers on its way."""
_TELLING_DELTAS = 6
_TOGETHER = 0.1
"""Share of a stream's time within which the deltas of a buffered one arrive."""
_UNKNOWN_KEY = 401
_OVERLOADED = 429
_NEXT = {
    "not_ready": "Try again in a moment; `loraplex adapters ls` shows what is loaded.",
    "engine_unavailable": "The engine died or does not answer: look at the replica's log.",
    "adapter_load_failed": "`loraplex adapters ls` shows the cause; to go back: `loraplex adapters rollback NAME`.",
    "adapter_pool_saturated": "Raise `adapters.cpu_slots`, or unpin a version.",
    "retrieval_unavailable": "See the check `knowledge`.",
    "permission_denied": "Name another model with --model, or use another key.",
}
_LOG = "The replica's log says why."


@dataclass(frozen=True, slots=True)
class _Target:
    """The model that is asked, and the versions that may answer."""

    model: str
    versions: tuple[str, ...]
    """`base` alone where no adapter is behind it."""


def request(visit: Visit) -> Iterator[Finding]:
    """A request is answered whole, by the right version. Raises Unreachable."""
    target, instead = _target(visit, "request")
    if target is None:
        yield instead
        return
    began = time.perf_counter()
    reply = visit.line.post(PATH, _body(target.model))
    seconds = time.perf_counter() - began
    if not reply.is_good:
        yield _refused("request", target, reply)
        return
    try:
        choice = reply.data["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        yield fail("request", f"{target.model} answered no completion: `{reply.message[:60]}`.", _LOG)
        return
    if not text:
        yield warn("request", f"{target.model} answered an empty text ({choice.get('finish_reason')}).", _LOG)
    else:
        yield ok("request", f"{target.model} answered in {seconds:.2f} s.")
    yield from _version(visit, target, reply.headers.get("x-loraplex-adapter"), reply.data.get("system_fingerprint"))


def stream(visit: Visit) -> Iterator[Finding]:
    """A streamed answer comes to its end, delta by delta. Raises Unreachable."""
    target, instead = _target(visit, "stream")
    if target is None:
        yield instead
        return
    reply, arrivals = visit.line.stream(PATH, _body(target.model) | {"stream": True})
    if not reply.is_good:
        yield _refused("stream", target, reply)
        return
    kind = reply.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        yield fail(
            "stream", f"A streamed answer came as `{kind}`.", "Something on the way rewrites it: look at proxies."
        )
        return
    if "content-encoding" in reply.headers:
        yield warn(
            "stream",
            f"Streams are compressed on their way ({reply.headers['content-encoding']}), which holds deltas back.",
            "Turn compression off for `text/event-stream` in the proxy.",
        )
    objects = [_parsed(arrival) for arrival in arrivals]
    errors = [one["error"] for one in objects if "error" in one]
    if errors:
        yield fail("stream", f"The stream of {target.model} ended in an error: {errors[0].get('message')}", _LOG)
    elif not arrivals or arrivals[-1].data != "[DONE]":
        yield fail(
            "stream",
            f"The stream of {target.model} was cut off after {len(arrivals)} events.",
            "A replica died, or a proxy has a time limit: raise its read and idle timeouts above 600 s.",
        )
    else:
        yield _pace(target, [arrival for arrival, one in zip(arrivals, objects, strict=True) if _text(one)])


def _pace(target: _Target, deltas: Sequence[Arrival]) -> Finding:
    """Whether something on the way gathers what the gateway sends piece by piece."""
    if not deltas:
        return warn("stream", f"The stream of {target.model} had no text in it.", _LOG)
    first, last = deltas[0].at, deltas[-1].at
    reads = len({delta.read for delta in deltas})
    gathered = reads <= max(2, len(deltas) // 8) and last - first < _TOGETHER * last
    told = f"{len(deltas)} deltas, the first after {first:.2f} s, the last after {last:.2f} s"
    if gathered and last >= _TELLING_S and len(deltas) >= _TELLING_DELTAS:
        return fail(
            "stream",
            f"Something buffers streams: {told}, all at once.",
            "Turn buffering off in the proxy (nginx: `proxy_buffering off`), and do not compress event streams.",
        )
    if gathered:
        return ok("stream", f"It came whole: {told}; that is too fast to tell whether anything buffers streams.")
    return ok("stream", f"Deltas come one by one: {told}.")


def _version(visit: Visit, target: _Target, header: str | None, fingerprint: str | None) -> Iterator[Finding]:
    check = "version"
    if header is None:
        yield warn(
            check,
            "The answer does not say which version gave it: the header x-loraplex-adapter is missing.",
            "Let headers that begin with `x-loraplex-` through in the proxy.",
        )
        return
    if header != BASE and fingerprint != header:
        yield fail(
            check,
            f"The answer contradicts itself: its header says {header}, its `system_fingerprint` {fingerprint}.",
            "Is a cache in front? Answers of a gateway must not be cached.",
        )
        return
    allowed = target.versions
    if header not in allowed:  # it may have been promoted in between
        allowed = _versions(target.model, visit.line.get("/v1/models").data, visit.ask_adapters())
    if header in allowed:
        yield ok(check, f"{target.model} was answered by {header}, as it should be.")
    else:
        yield fail(
            check,
            f"{target.model} was answered by {header}, and should be by {' or '.join(allowed)}.",
            "`loraplex adapters history` tells what changed; replicas that lag behind stand under `replicas`.",
        )


def _target(visit: Visit, check: str) -> tuple[_Target | None, Finding]:
    """What to ask; or why nothing is asked."""
    if not visit.wishes.requests:
        return None, skip(check, "Left out, as you wished.")
    if visit.models.status == _UNKNOWN_KEY:
        return None, skip(check, "Without a key that is known, nothing can be asked.")
    listed = visit.listed
    names = [str(model["id"]) for model in listed]
    model = visit.wishes.model or _most_telling(listed)
    if model is None or model not in names:
        return None, skip(check, "There is no model to ask.")
    return _Target(model, _versions(model, visit.models.data, visit.adapters)), skip(check, "")


def _most_telling(listed: Sequence[dict[str, Any]]) -> str | None:
    """An alias, for it has a version and no contract; else what an adapter answers, else the base model."""
    by_adapter = [one for one in listed if "@" in str(one["root"]) and "@" not in str(one["id"])]
    aliases = [one for one in by_adapter if str(one["root"]).partition("@")[0] == one["id"]]
    bases = [one for one in listed if one["parent"] is None]
    found = [*aliases, *by_adapter, *bases, *listed]
    return str(found[0]["id"]) if found else None


def _versions(model: str, models: Any, adapters: Reply) -> tuple[str, ...]:
    """Versions that may answer ``model``: its stable one, and a canary where one is known of."""
    root = next((str(one["root"]) for one in models["data"] if one["id"] == model), BASE)
    if "@" not in root:
        return (BASE,)
    if model == root or not adapters.is_good:
        return (root,)
    alias = next((one["alias"] for one in adapters.data["data"] if one["name"] == root.partition("@")[0]), None)
    return (root, *((alias["canary"],) if alias and alias["canary"] else ()))


def _body(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": _MAX_TOKENS,
        "temperature": 0,
    }


def _refused(check: str, target: _Target, reply: Reply) -> Finding:
    if reply.status == _OVERLOADED:
        return warn(
            check,
            f"The gateway has more to do than it may take ({reply.message})",
            "Add replicas, or raise `limits.max_concurrent_requests`.",
        )
    if not reply.code:
        server = reply.headers.get("server", "something")
        return fail(
            check,
            f"{target.model} was not reached: {server} on the way answered {reply.status}.",
            "Look at the proxy's log: time limits, body sizes, routes.",
        )
    message = f"{target.model} was refused with {reply.status} {reply.code}: {reply.message}"
    return fail(check, message, _NEXT.get(reply.code, _LOG))


def _parsed(arrival: Arrival) -> dict[str, Any]:
    try:
        value = json.loads(arrival.data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(event: dict[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")
