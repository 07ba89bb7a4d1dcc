"""The effect probe."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.errors import AdapterRejected
from serving.engine.fake import FakeEngine
from serving.engine.protocol import EngineFailed, EngineRejected, EngineRequest, JsonObject
from serving.probe import EffectProbe

Scores = Callable[[str | None, int], dict[str, float]]


class ScoringEngine(FakeEngine):
    """Gives chosen log-probabilities for an adapter and the number of the request."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self._scores = scores
        self._numbers = itertools.count()

    async def complete(self, request: EngineRequest) -> JsonObject:
        answer = await super().complete(request)
        scores = self._scores(request.adapter, next(self._numbers))
        for choice in answer["choices"]:
            choice["logprobs"]["top_logprobs"] = [scores] if scores else []
        return answer


async def started(engine: FakeEngine, folder: Path, *names: str) -> FakeEngine:
    await engine.start(lambda line: None)
    for name in names:
        await engine.load_adapter(name, folder)
    return engine


async def test_an_adapter_with_an_effect_passes(tmp_path: Path) -> None:
    engine = await started(FakeEngine(), tmp_path, "a@1")
    result = await EffectProbe(engine).check("a@1")
    assert result.effect > 0
    assert result.skipped is None


async def test_an_adapter_that_answers_like_the_base_is_refused(tmp_path: Path) -> None:
    engine = await started(FakeEngine(), tmp_path, "a@1")
    engine.inert.add("a@1")
    with pytest.raises(AdapterRejected, match="changes nothing") as caught:
        await EffectProbe(engine).check("a@1")
    assert caught.value.code == "no_effect"


async def test_a_difference_within_the_noise_is_no_effect(tmp_path: Path) -> None:
    def scores(adapter: str | None, number: int) -> dict[str, float]:
        return {"a": -1.0 + 0.01 * (number % 3), "b": -2.0}

    engine = await started(ScoringEngine(scores), tmp_path, "a@1")
    with pytest.raises(AdapterRejected) as caught:
        await EffectProbe(engine).check("a@1")
    assert caught.value.code == "no_effect"


async def test_a_small_difference_beyond_the_noise_is_an_effect(tmp_path: Path) -> None:
    def scores(adapter: str | None, number: int) -> dict[str, float]:
        return {"a": -1.0 + 0.001 * (number // 2 % 2) + (0.05 if adapter else 0.0), "b": -2.0}

    engine = await started(ScoringEngine(scores), tmp_path, "a@1")
    result = await EffectProbe(engine).check("a@1")
    assert 0.04 < result.effect < 0.06
    assert result.noise == pytest.approx(0.001)


async def test_a_token_that_only_one_side_lists_counts_for_what_is_certain(tmp_path: Path) -> None:
    def scores(adapter: str | None, number: int) -> dict[str, float]:
        return {"a": -1.0, "b": -2.0} if adapter is None else {"a": -1.0, "c": -2.0}

    engine = await started(ScoringEngine(scores), tmp_path, "a@1")
    with pytest.raises(AdapterRejected):
        await EffectProbe(engine).check("a@1")


async def test_an_adapter_that_makes_the_engine_compute_nan_is_refused(tmp_path: Path) -> None:
    def scores(adapter: str | None, number: int) -> dict[str, float]:
        return {"a": float("nan") if adapter else -1.0, "b": -2.0}

    engine = await started(ScoringEngine(scores), tmp_path, "a@1")
    with pytest.raises(AdapterRejected) as caught:
        await EffectProbe(engine).check("a@1")
    assert caught.value.code == "not_finite"


async def test_a_clear_effect_costs_one_request_and_the_base_is_measured_once(tmp_path: Path) -> None:
    def scores(adapter: str | None, number: int) -> dict[str, float]:
        return {"a": -4.0 if adapter else -1.0, "b": -2.0}

    engine = await started(ScoringEngine(scores), tmp_path, "a@1", "b@1")
    probe = EffectProbe(engine)
    await probe.check("a@1")
    await probe.check("b@1")
    assert [request.adapter for request in engine.requests] == [None, "a@1", "b@1"]


async def test_concurrent_probes_share_the_base_reference(tmp_path: Path) -> None:
    names = [f"a@{number}" for number in range(5)]
    engine = await started(FakeEngine(), tmp_path, *names)
    probe = EffectProbe(engine)
    await asyncio.gather(*(probe.check(name) for name in names))
    assert engine.requests[0].adapter is None
    assert len({request.request_id for request in engine.requests}) == len(engine.requests)


async def test_an_engine_without_log_probabilities_is_skipped_and_says_so(tmp_path: Path) -> None:
    engine = await started(ScoringEngine(lambda adapter, number: {}), tmp_path, "a@1")
    probe = EffectProbe(engine)
    result = await probe.check("a@1")
    assert result.skipped == "the engine gives no log-probabilities"
    asked = len(engine.requests)
    assert (await probe.check("a@1")).skipped == result.skipped
    assert len(engine.requests) == asked


async def test_an_engine_that_refuses_log_probabilities_is_skipped_and_says_why(tmp_path: Path) -> None:
    engine = await started(FakeEngine(), tmp_path, "a@1")
    engine.fail_next(EngineRejected("`logprobs` is not supported"))
    result = await EffectProbe(engine).check("a@1")
    assert result.skipped is not None
    assert "`logprobs` is not supported" in result.skipped


async def test_an_engine_failure_is_passed_on_and_the_next_probe_starts_afresh(tmp_path: Path) -> None:
    engine = await started(FakeEngine(), tmp_path, "a@1")
    engine.fail_next(EngineFailed("out of memory"))
    probe = EffectProbe(engine)
    with pytest.raises(EngineFailed):
        await probe.check("a@1")
    assert (await probe.check("a@1")).skipped is None
