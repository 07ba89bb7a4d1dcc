"""The effect probe: does a loaded adapter change what the base model computes?

Engines have been seen serving the base model silently when an adapter's tensors did not match. The probe compares
the log-probabilities of a fixed prompt with and without the adapter, and refuses an adapter that makes no difference.
"""

import asyncio
import logging
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.errors import AdapterRejected
from serving.engine.protocol import Endpoint, Engine, EngineRejected, EngineRequest, JsonObject

logger = logging.getLogger(__name__)

PROMPT = (
    "The quick brown fox jumps over the lazy dog and runs away.\n"
    "Question: my order arrived damaged, what should I do?\nAnswer:"
    ' {"name": "value", "items": [1, 2, 3], "note": "'
)
"""Prose, a dialogue and structured text: an adapter for any of them moves some of it."""

CLEAR_EFFECT = 0.5
"""A difference in log-probability, in nats, that no numeric noise reaches: it is believed at once."""

RESOLUTION = 1e-6
"""Differences below this, in nats, are rounding of the answer's own numbers."""

NOISE_MARGIN = 2.0
"""How many times the noise an effect must exceed."""

ROUNDS = 3
"""Repetitions of base and adapter, alternating, when the first look does not decide."""

Measurement = tuple[float, ...]


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
        if effect <= max(RESOLUTION, NOISE_MARGIN * noise):
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
        base = [self._reference]
        for _ in range(ROUNDS - 1):
            base.append(await self._measure(None))
            with_adapter.append(await self._measured_adapter(adapter))
        noise = max(_spread(base), _spread(with_adapter))
        return _distance(_median(with_adapter), _median(base)), noise

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
            "prompt": PROMPT,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        request = EngineRequest(Endpoint.COMPLETIONS, body, f"effect-probe-{self._count}", adapter=adapter)
        try:
            answer = await self._engine.complete(request)
        except EngineRejected as error:
            raise _Unsupported(f"the engine refuses log-probabilities of a prompt ({error})") from error
        values = _prompt_logprobs(answer)
        if not values:
            raise _Unsupported("the engine gives no log-probabilities of a prompt")
        return values


class _Unsupported(Exception):
    """The engine cannot be probed."""


def _prompt_logprobs(answer: JsonObject) -> Measurement:
    """Log-probabilities of the echoed prompt.

    The first token has none, and the last is the generated one, which need not be the same token with and without
    the adapter.
    """
    choices: list[dict[str, Any]] = answer.get("choices") or [{}]
    logprobs = (choices[0].get("logprobs") or {}).get("token_logprobs") or []
    return tuple(float(value) for value in logprobs[:-1] if value is not None)


def _finite(measured: Measurement) -> bool:
    return all(math.isfinite(value) for value in measured)


def _distance(one: Measurement, other: Measurement) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=False)), default=0.0)


def _spread(measurements: Sequence[Measurement]) -> float:
    """How far repetitions of the same measurement lie apart."""
    return max((max(values) - min(values) for values in zip(*measurements, strict=False)), default=0.0)


def _median(measurements: Sequence[Measurement]) -> Measurement:
    return tuple(statistics.median(values) for values in zip(*measurements, strict=False))
