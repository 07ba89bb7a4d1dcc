"""A closed-loop load generator: ``c`` connections, each sending its next request when the last one is answered.

It checks every answer (status, text, usage, an orderly end of the stream) and measures, per request, the time to
the first token (TTFT), the gaps between pieces (ITL) and the whole (E2E).

    python -m benchmarks.load --url http://127.0.0.1:8000 --model SmolLM2-135M-Instruct --concurrency 8 --stream
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop

from benchmarks.stats import quantiles_ms
from benchmarks.wire import Address, Connection, ExchangeFailed, Reply, request_bytes

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to send."""

    body: dict[str, Any]
    path: str = CHAT
    headers: dict[str, str] = field(default_factory=dict)
    tag: str = ""
    """Comes back on the sample; the server never sees it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of one request. Times in seconds."""

    tag: str
    error: str | None
    """Why the answer does not count; None for a good one."""
    status: int
    started_at: float
    e2e_s: float
    ttft_s: float | None = None
    """Streams only: until the first piece that carries text."""
    gaps_s: tuple[float, ...] = ()
    text: str = ""
    completion_tokens: int = 0
    fingerprint: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A finished run."""

    samples: list[Sample]
    wall_s: float

    @property
    def good(self) -> list[Sample]:
        """The samples whose answers passed every check."""
        return [sample for sample in self.samples if sample.error is None]

    @property
    def errors(self) -> dict[str, int]:
        """Number of failures by cause."""
        counts: dict[str, int] = {}
        for sample in self.samples:
            if sample.error is not None:
                counts[sample.error] = counts.get(sample.error, 0) + 1
        return counts

    @property
    def requests_per_s(self) -> float:
        """Good answers per second."""
        return len(self.good) / self.wall_s

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens of good answers per second."""
        return sum(sample.completion_tokens for sample in self.good) / self.wall_s

    def report(self) -> dict[str, Any]:
        """The run as JSON."""
        good = self.good
        gaps = [gap for sample in good for gap in sample.gaps_s]
        return {
            "requests": len(self.samples),
            "failures": len(self.samples) - len(good),
            "errors": self.errors,
            "wall_s": round(self.wall_s, 3),
            "requests_per_s": round(self.requests_per_s, 2),
            "tokens_per_s": round(self.tokens_per_s, 2),
            "ttft_ms": quantiles_ms([sample.ttft_s for sample in good if sample.ttft_s is not None]),
            "itl_ms": quantiles_ms(gaps),
            "e2e_ms": quantiles_ms([sample.e2e_s for sample in good]),
        }


async def run_load(
    address: Address,
    calls: Iterable[Call],
    *,
    concurrency: int,
    seconds: float | None = None,
    timeout_s: float = 300.0,
    keep_answers: bool = False,
    pause_after_failure_s: float = 0.0,
) -> LoadResult:
    """Send ``calls`` over ``concurrency`` connections until they, or ``seconds``, are used up.

    Without ``keep_answers`` the samples drop text and headers once they are checked: a fast server gives many. A caller
    whose request failed waits for ``pause_after_failure_s``, as clients do, before it sends the next one.
    """
    samples: list[Sample] = []
    queue = iter(calls)
    started = time.perf_counter()
    deadline = started + seconds if seconds is not None else float("inf")

    def take(call: Call, reply: Reply) -> bool:
        sample = judge(call, reply)
        samples.append(sample if keep_answers else replace(sample, text="", headers={}))
        return sample.error is None

    def fail(call: Call, started_at: float, error: ExchangeFailed) -> None:
        samples.append(Sample(call.tag, str(error), 0, started_at, time.perf_counter() - started_at))

    worker = _Worker(address, queue, deadline, timeout_s, pause_after_failure_s, take, fail)
    await asyncio.gather(*(worker.run() for _ in range(concurrency)))
    return LoadResult(samples, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Worker:
    address: Address
    calls: Iterator[Call]
    deadline: float
    timeout_s: float
    pause_s: float
    take: Callable[[Call, Reply], bool]
    """Says whether the answer was good."""
    fail: Callable[[Call, float, ExchangeFailed], None]

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while time.perf_counter() < self.deadline:
                call = next(self.calls, None)
                if call is None:
                    return
                payload = request_bytes("POST", call.path, self.address, orjson.dumps(call.body), call.headers)
                started_at = time.perf_counter()
                try:
                    if connection is None or not connection.usable:
                        connection = await Connection.open(self.address)
                    reply = await connection.exchange(payload, self.timeout_s)
                except ExchangeFailed as error:
                    self.fail(call, started_at, error)
                    good = False
                else:
                    good = self.take(call, reply)
                if not good and self.pause_s:
                    await asyncio.sleep(self.pause_s)
        finally:
            if connection is not None:
                connection.close()


def judge(call: Call, reply: Reply) -> Sample:
    """Check an answer and take its measures."""
    streamed = bool(call.body.get("stream")) and reply.status == 200
    outcome = _read_stream(reply) if streamed else _read_whole(reply)
    error = outcome.error
    if error is None and not outcome.text:
        error = "no text"
    if error is None and outcome.completion_tokens < 1:
        error = "no usage"
    first = outcome.times[0] - reply.sent_at if outcome.times else None
    return Sample(
        tag=call.tag,
        error=error,
        status=reply.status,
        started_at=reply.sent_at,
        e2e_s=reply.done_at - reply.sent_at,
        ttft_s=first,
        gaps_s=tuple(later - sooner for sooner, later in zip(outcome.times, outcome.times[1:], strict=False)),
        text=outcome.text,
        completion_tokens=outcome.completion_tokens,
        fingerprint=outcome.fingerprint,
        headers=reply.headers,
    )


@dataclass(slots=True)
class _Outcome:
    error: str | None = None
    text: str = ""
    completion_tokens: int = 0
    fingerprint: str | None = None
    times: list[float] = field(default_factory=list)
    """When each piece that carries text arrived."""

    def add(self, answer: dict[str, Any]) -> str:
        """Take over what one object says; returns its text."""
        usage = answer.get("usage")
        if usage:
            self.completion_tokens = usage.get("completion_tokens") or 0
        self.fingerprint = answer.get("system_fingerprint") or self.fingerprint
        text = "".join(_text_of(choice) for choice in answer.get("choices", ()))
        self.text += text
        return text


def _read_whole(reply: Reply) -> _Outcome:
    if reply.status != 200:
        return _Outcome(error=f"status {reply.status}: {reply.body[:200].decode(errors='replace')}")
    outcome = _Outcome()
    try:
        outcome.add(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        outcome.error = "the answer is not JSON"
    return outcome


def _read_stream(reply: Reply) -> _Outcome:
    outcome = _Outcome()
    finished = ended = False
    for at, data in reply.events():
        if data == b"[DONE]":
            ended = True
            continue
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError:
            outcome.error = "an event is not JSON"
            return outcome
        if "error" in answer:
            outcome.error = f"error event: {answer['error'].get('message')}"
            return outcome
        if outcome.add(answer):
            outcome.times.append(at)
        finished = finished or any(choice.get("finish_reason") for choice in answer.get("choices", ()))
    if not finished:
        outcome.error = "the stream has no finish reason"
    elif not ended:
        outcome.error = "the stream has no [DONE]"
    return outcome


def _text_of(choice: dict[str, Any]) -> str:
    message = choice.get("delta") or choice.get("message") or {}
    return message.get("content") or choice.get("text") or ""


def chat_body(model: str, prompt: str, *, max_tokens: int, stream: bool, **extra: Any) -> dict[str, Any]:
    """A chat request that asks for usage in either form."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, **extra}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def main() -> None:
    """Load one server and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt", default="Say something short about tea.")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    url = urlsplit(options.url)
    address = Address(url.hostname or "127.0.0.1", url.port or 80)
    body = chat_body(options.model, options.prompt, max_tokens=options.max_tokens, stream=options.stream)
    calls = [Call(body) for _ in range(options.requests)]
    result = uvloop.run(run_load(address, calls, concurrency=options.concurrency))
    print(orjson.dumps(result.report(), option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
