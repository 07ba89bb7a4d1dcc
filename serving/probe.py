"""The effect probe: does a loaded adapter change what the base model computes?

Engines have been seen serving the base model silently when an adapter's tensors did not match. The probe compares
the log-probabilities of the first token after fixed prompts, with and without the adapter, and refuses an adapter
that makes no difference.

It asks for the generated token's log-probabilities, never for the prompt's: vLLM 0.29 with LoRA enabled dies of a
prompt's log-probabilities when other requests are in the batch.
"""

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.errors import AdapterRejected
from serving.engine.protocol import Endpoint, Engine, EngineRejected, EngineRequest, JsonObject

logger = logging.getLogger(__name__)

PROMPTS = ("The quick brown fox jumps over the", '{"label": "')
"""Short, because a load waits for them. LoRA changes linear layers, which every token passes."""

ALTERNATIVES = 5
"""Most likely tokens compared after each prompt: what the OpenAI API allows everywhere."""

CLEAR_EFFECT = 0.5
"""A difference in log-probability, in nats, that no numeric noise reaches: it is believed at once."""

RESOLUTION = 1e-6
"""Differences below this, in nats, are rounding of the answer's own numbers."""

SURE_MARGIN = 4.0
"""An effect of this many times the noise of two looks at the base is believed without further ones."""

ROUNDS = 3
"""Looks at base and adapter, alternating, when nothing else has decided."""

Measurement = tuple[Mapping[str, float], ...]
"""For each prompt, the most likely next tokens and their log-probabilities."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe found. Differences are in nats, the largest over all positions."""

    effect: float
    noise: float
    seconds: float
    skipped: str | None = None
    """Why the adapter could not be probed; None when it was."""


class EffectProbe:
    """Probes the adapters of one engine life.

    The base model's reference is measured once; how far the base differs from itself is measured beside every
    adapter that does not differ from the reference clearly, because the noise depends on what else is in the batch.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()
        self._reference: Measurement | None = None
        self._unsupported: str | None = None
        self._count = 0

    async def check(self, adapter: str) -> ProbeResult:
        """Probe a loaded adapter.

        An engine that gives no log-probabilities cannot be probed: the result then says why.

        Raises:
            AdapterRejected: ``no_effect``: the adapter does not change the base model beyond its numeric noise;
                ``not_finite``: with the adapter the engine computes NaN or infinity.
            EngineFailed, EngineUnavailable, EngineAdapterError: the engine could not answer.
        """
        async with self._lock:
            started = time.perf_counter()
            try:
                effect, noise = await self._compare(adapter)
            except _Unsupported as error:
                if self._unsupported is None:
                    logger.warning("effect probe skipped: %s", error)
                self._unsupported = str(error)
                return ProbeResult(0.0, 0.0, time.perf_counter() - started, skipped=str(error))
        if effect <= max(RESOLUTION, noise):
            raise AdapterRejected(
                "no_effect",
                f"`{adapter}` changes nothing: with it the engine computes what the base model computes "
                f"(largest difference {effect:.2g}, noise {noise:.2g})",
            )
        return ProbeResult(effect, noise, time.perf_counter() - started)

    async def _compare(self, adapter: str) -> tuple[float, float]:
        """The largest difference that the adapter makes, and the base model's own noise."""
        if self._unsupported is not None:
            raise _Unsupported(self._unsupported)
        if self._reference is None:
            reference = await self._measure(None)
            if not _finite(reference):
                raise _Unsupported("the base model itself computes values that are not finite")
            self._reference = reference
        with_adapter = [await self._measured_adapter(adapter)]
        effect = _distance(with_adapter[0], self._reference)
        if effect > CLEAR_EFFECT:
            return effect, 0.0
        base = [self._reference, await self._measure(None)]
        if effect > max(RESOLUTION, SURE_MARGIN * _spread(base)):
            return effect, _spread(base)
        for _ in range(ROUNDS - 1):
            with_adapter.append(await self._measured_adapter(adapter))
            base.append(await self._measure(None))
        # The smallest difference that was seen against the largest that means nothing: in a busy batch the same
        # request gives slightly different numbers each time, and an adapter without effect gives no others.
        smallest = min(_distance(one, other) for one, other in itertools.product(with_adapter, base))
        return smallest, max(_spread(base), _spread(with_adapter))

    async def _measured_adapter(self, adapter: str) -> Measurement:
        measured = await self._measure(adapter)
        if not _finite(measured):
            raise AdapterRejected(
                "not_finite", f"`{adapter}` is broken: with it the engine computes values that are not finite"
            )
        return measured

    async def _measure(self, adapter: str | None) -> Measurement:
        self._count += 1
        body = {
            "model": adapter or "base",
            "prompt": list(PROMPTS),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": ALTERNATIVES,
        }
        request = EngineRequest(Endpoint.COMPLETIONS, body, f"effect-probe-{self._count}", adapter=adapter)
        try:
            answer = await self._engine.complete(request)
        except EngineRejected as error:
            raise _Unsupported(f"the engine refuses log-probabilities ({error})") from error
        measured = _first_tokens(answer)
        if len(measured) != len(PROMPTS) or not all(measured):
            raise _Unsupported("the engine gives no log-probabilities")
        return measured


class _Unsupported(Exception):
    """The engine cannot be probed."""


def _first_tokens(answer: JsonObject) -> Measurement:
    """What was likely as the first token of every choice, in the prompts' order."""
    choices = sorted(answer.get("choices") or (), key=lambda choice: int(choice["index"]))
    return tuple(_likely((choice.get("logprobs") or {}).get("top_logprobs") or ()) for choice in choices)


def _likely(positions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {token: float(value) for token, value in positions[0].items()} if positions else {}


def _finite(measured: Measurement) -> bool:
    return all(math.isfinite(value) for tokens in measured for value in tokens.values())


def _distance(one: Measurement, other: Measurement) -> float:
    """The largest difference that is certain.

    A token that only one side lists is, on the other, at most as likely as the least likely one listed there.
    """
    largest = 0.0
    for here, there in zip(one, other, strict=True):
        for token in here.keys() | there.keys():
            difference = here.get(token, min(here.values())) - there.get(token, min(there.values()))
            largest = max(largest, abs(difference))
    return largest


def _spread(measurements: Sequence[Measurement]) -> float:
    """How far repetitions of the same measurement lie apart."""
    return max((_distance(one, other) for one, other in itertools.combinations(measurements, 2)), default=0.0)
