"""The story's callers: many, each with a key of its own, asking without a break and judging some of the answers."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence

import orjson

from benchmarks.load import Call, Sample, chat_body, judge
from benchmarks.story_check import Exchange, Rating, rating
from benchmarks.story_rows import MAX_TOKENS, Prompt
from benchmarks.wire import Address, Connection, ExchangeFailed, Reply, request_bytes

CALLER_KEY = "x-loraplex-caller-key"
FEEDBACK = "/v1/feedback"

_TIMEOUT_S = 300.0
_IDLE_S = 2.0
"""A connection that was idle for longer is not used again: the server may be closing it."""
_PAUSE_S = 0.2
"""After a failure: a gateway that is gone is not asked a thousand times a second."""
_OK = 200


class Traffic:
    """Requests of one model, until :meth:`stop`.

    Args:
        model: the task that is asked.
        judged: share of the answers that their callers judge.
    """

    def __init__(
        self, address: Address, model: str, prompts: Sequence[Prompt], *, callers: int, judged: float, seed: int = 1
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.refused_feedback: list[str] = []
        self._address = address
        self._model = model
        self._prompts = prompts
        self._callers = callers
        self._judged = judged
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._interval_s = 0.0
        self._next_at = 0.0
        self._stopped = False
        self._milestone = (0, asyncio.Event())

    async def run(self, connections: int) -> None:
        """Ask over so many connections, each with its next request when its last one is answered."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(self._ask_on())
        finally:
            self.stop()

    def pace(self, per_s: float | None) -> None:
        """At most so many requests a second from now on; None: as many as the gateway answers."""
        self._interval_s = 0.0 if per_s is None else 1 / per_s
        self._next_at = time.perf_counter()

    def stop(self) -> None:
        """Send nothing new; nobody waits for more answers."""
        self._stopped = True
        self._milestone[1].set()

    async def answered(self, count: int) -> None:
        """Wait until ``count`` more requests were answered."""
        self._milestone = (len(self.exchanges) + count, asyncio.Event())
        if not self._stopped:
            await self._milestone[1].wait()

    async def _ask_on(self) -> None:
        line = _Line(self._address)
        try:
            while not self._stopped:
                await self._turn()
                await self._ask(line)
        finally:
            line.close()

    async def _turn(self) -> None:
        now = time.perf_counter()
        self._next_at = max(self._next_at, now)
        wait_s = self._next_at - now
        self._next_at += self._interval_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _ask(self, line: "_Line") -> None:
        number = next(self._numbers)
        caller = f"caller-{self._random.randrange(self._callers)}"
        prompt = self._random.choice(self._prompts)
        judges = self._random.random() < self._judged
        body = chat_body(self._model, prompt.text, max_tokens=MAX_TOKENS, stream=number % 2 == 0)
        call = Call(body, headers={CALLER_KEY: caller}, tag=str(number))
        started = time.perf_counter()
        try:
            sample = judge(call, await line.send(call.path, body, call.headers))
        except ExchangeFailed as error:
            sample = Sample(call.tag, str(error), 0, started, time.perf_counter() - started)
            await asyncio.sleep(_PAUSE_S)
        said = rating(sample.text, prompt.category) if judges and sample.error is None else None
        if said is not None:
            await self._judge(line, sample, said)
        self.exchanges.append(Exchange(sample, caller, prompt, said))
        enough, reached = self._milestone
        if len(self.exchanges) >= enough:
            reached.set()

    async def _judge(self, line: "_Line", sample: Sample, said: Rating) -> None:
        body = {"request_id": sample.headers.get("x-request-id", ""), "rating": said}
        try:
            reply = await line.send(FEEDBACK, body, {})
        except ExchangeFailed as error:
            self.refused_feedback.append(str(error))
            return
        if reply.status != _OK:
            self.refused_feedback.append(f"status {reply.status}: {reply.body[:200].decode(errors='replace')}")


class _Line:
    """One connection after the other, for one request after the other."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None
        self._used_at = 0.0

    async def send(self, path: str, body: object, headers: dict[str, str]) -> Reply:
        """One request and its whole answer. Raises ExchangeFailed."""
        connection = self._connection
        if connection is None or not connection.usable or time.perf_counter() - self._used_at > _IDLE_S:
            self.close()
            connection = self._connection = await Connection.open(self._address)
        payload = request_bytes("POST", path, self._address, orjson.dumps(body), headers)
        reply = await connection.exchange(payload, _TIMEOUT_S)
        self._used_at = time.perf_counter()
        return reply

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
