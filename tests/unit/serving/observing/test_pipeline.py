"""Finished requests on their way to the process that observes them."""

import asyncio
import json
import logging
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters.types import Role
from monitoring.metrics import GatewayMetrics, RequestRecord
from serving.answers import FinishedText
from serving.config import MonitoringSettings
from serving.engine.protocol import Endpoint
from serving.observing import backlog, pipeline
from serving.observing.notes import Notes
from serving.observing.pipeline import Pipeline
from serving.tasks import Resolution
from tests.lifecycle import until
from tests.observing import Collecting

BODY: dict[str, Any] = {"model": "triage", "messages": [{"role": "user", "content": "where is my parcel"}]}
RESOLUTION = Resolution("triage", "triage", None, "triage@11111111", None)
JUDGE = {"url": "http://judge/v1", "model": "m", "rubric": "Be right.", "share": 1.0}


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A pipeline, what it hands over to, and what it counts."""

    def __init__(self, *, chance: float = 0.0, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        self.worker = Collecting()
        self.clock = Clock()
        self.metrics = GatewayMetrics(self.registry, replica="r0")
        self.pipeline = Pipeline(
            MonitoringSettings.model_validate(settings),
            self.metrics,
            self.worker,
            chance=lambda: chance,
            clock=self.clock,
        )

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"replica": "r0", **labels}) or 0.0

    def draw(self, **changes: Any) -> Notes | None:
        return self.pipeline.draw(RESOLUTION, Endpoint.CHAT, BODY | changes, "req-1")

    def end(self, notes: Notes | None, outcome: str = "ok", text: str = "on its way") -> None:
        assert notes is not None
        notes.texts([FinishedText({}, text, "stop"), FinishedText({}, "another", "stop")])
        record = RequestRecord("triage", "triage@11111111", outcome=outcome, prompt_tokens=5, completion_tokens=3)
        self.pipeline.ended(notes, record)


async def test_a_finished_request_is_handed_over_and_counted() -> None:
    house = House()
    house.end(house.draw())
    await house.pipeline.flush()
    (record,) = house.worker.records
    assert (record["prompt"], record["answer"], record["finish_reason"]) == ("where is my parcel", "on its way", "stop")
    assert (record["task"], record["adapter"], record["role"]) == ("triage", "triage@11111111", "base")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (5, 3)
    assert house.value("loraplex_observations_total", result="observed") == 1
    assert house.value("loraplex_observer_up") == 1


async def test_of_several_answers_that_of_the_first_choice_is_looked_at() -> None:
    house = House()
    notes = house.draw()
    assert notes is not None
    notes.texts([FinishedText({"index": 1}, "the second, which ended first", "stop")])
    notes.texts([FinishedText({"index": 0}, "the first", "length")])
    house.pipeline.ended(notes, RequestRecord("triage", "triage@11111111", outcome="ok"))
    await house.pipeline.flush()
    (record,) = house.worker.records
    assert (record["answer"], record["finish_reason"]) == ("the first", "length")


async def test_a_share_of_the_requests_is_observed_and_the_rest_counted() -> None:
    house = House(share=0.5, chance=0.5)
    assert house.draw() is None
    await house.pipeline.flush()
    assert house.value("loraplex_observations_total", result="sampled_out") == 1
    drawn = House(share=0.5, chance=0.49)
    assert drawn.draw() is not None


async def test_a_task_that_is_left_out_is_neither_observed_nor_counted() -> None:
    house = House(tasks={"triage": {"share": 0.0}})
    assert house.draw() is None
    await house.pipeline.flush()
    assert house.value("loraplex_observations_total", result="sampled_out") == 0


async def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    house = House(queue=10)
    for _ in range(25):
        house.end(house.draw())
    await house.pipeline.flush()
    assert len(house.worker.records) == 10
    assert house.value("loraplex_observations_total", result="dropped") == 15


async def test_messages_are_small() -> None:
    house = House()
    for _ in range(backlog.AT_ONCE + 1):
        house.end(house.draw())
    await house.pipeline.flush()
    assert house.worker.batches == [backlog.AT_ONCE, 1]


async def test_long_texts_make_shorter_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_AT_ONCE", 1000)
    house = House()
    for _ in range(4):
        house.end(house.draw(), text="x" * 450)
    house.end(house.draw(), text="x" * 5000)
    await house.pipeline.flush()
    assert house.worker.batches == [2, 2, 1]


async def test_texts_fill_the_queue_before_the_number_of_requests_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_CHARACTERS", 10_000)
    house = House()
    tools = [{"type": "function", "function": {"name": "x" * 3000}}]
    for _ in range(5):
        house.end(house.draw(tools=tools))
    await house.pipeline.flush()
    assert len(house.worker.records) == 3
    assert house.value("loraplex_observations_total", result="dropped") == 2
    house.end(house.draw(tools=tools))
    await house.pipeline.flush()
    assert len(house.worker.records) == 4


async def test_requests_refused_for_load_are_not_observed_and_take_no_place_in_the_windows() -> None:
    house = House(drift={"per_minute": 1})
    for _ in range(3):
        house.end(house.draw(), outcome="overloaded")
    answered = house.draw()
    assert answered is not None
    assert answered.is_drawn
    house.end(answered)
    await house.pipeline.flush()
    assert [record["outcome"] for record in house.worker.records] == ["ok"]


async def test_what_the_process_could_not_read_counts_as_dropped() -> None:
    house = House()
    house.worker.reply = {"observed": 1}
    for _ in range(3):
        house.end(house.draw())
    await house.pipeline.flush()
    assert house.value("loraplex_observations_total", result="observed") == 1
    assert house.value("loraplex_observations_total", result="dropped") == 2


async def test_a_slow_process_is_told_of_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_SLOW_S", 0.0)
    house = House()
    house.worker.slow = asyncio.Event()
    house.end(house.draw())
    flushing = asyncio.create_task(house.pipeline.flush())
    await until(lambda: house.pipeline.impaired, "the word of it")
    assert house.value("loraplex_observer_up") == 0
    house.worker.slow.set()
    await flushing
    assert house.value("loraplex_observations_total", result="observed") == 1
    assert house.value("loraplex_observer_up") == 1


async def test_an_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_STOP_S", 0.01)
    house = House()
    house.pipeline.start()
    await until(lambda: house.worker.batches, "the first message")
    house.worker.slow = asyncio.Event()
    house.end(house.draw())
    async with asyncio.timeout(10):
        await house.pipeline.stop()
    assert house.worker.stopped


async def test_a_lost_process_is_said_once_and_tried_again_after_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    house = House()
    house.worker.away = "the observing process ended with status -9"
    for _ in range(3):
        house.end(house.draw())
        await house.pipeline.flush()
    assert house.value("loraplex_observer_up") == 0
    assert house.value("loraplex_observations_total", result="dropped") == 1
    assert caplog.text.count("status -9") == 1
    house.worker.away = ""
    await house.pipeline.flush()
    assert house.worker.records == []
    house.clock.now += 1.1
    await house.pipeline.flush()
    assert len(house.worker.records) == 2
    assert house.value("loraplex_observer_up") == 1
    assert "observed in full again" in caplog.text


async def test_what_the_process_misses_is_said(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.worker.reply = {"problem": "the state database sqlite:///x cannot be used: disk I/O error."}
    for _ in range(2):
        house.end(house.draw())
        await house.pipeline.flush()
    assert house.value("loraplex_observer_up") == 0
    assert house.value("loraplex_observations_total", result="observed") == 2
    assert caplog.text.count("disk I/O error") == 1


async def test_a_reply_that_is_none_harms_nobody() -> None:
    house = House()
    house.worker.reply = {"checks": [["too", "short"]]}
    house.end(house.draw())
    house.pipeline.start()
    await house.pipeline.stop()
    assert house.worker.stopped
    assert house.value("loraplex_observer_up") == 0


async def test_what_was_found_is_shown() -> None:
    house = House()
    house.worker.reply = {
        "checks": [["triage", "triage@11111111", "stable", "refusal", 3, 1]],
        "confidence": [["triage", "triage@11111111", -0.5, None]],
        "lags": [0.2],
        "standing": {
            "signals": [["triage", "topics", 0.001, 0.2, True]],
            "windows": [["triage", "live", 200]],
            "scores": [["triage", "triage@11111111", 0.9]],
            "parts": [["triage", "triage@11111111", "refusal", 0.75]],
        },
    }
    house.end(house.draw())
    await house.pipeline.flush()
    checked = {"task": "triage", "adapter": "triage@11111111", "role": "stable", "check": "refusal"}
    assert house.value("loraplex_quality_checks_total", **checked, result="ok") == 3
    assert house.value("loraplex_quality_checks_total", **checked, result="bad") == 1
    assert house.value("loraplex_drift_detected", task="triage", signal="topics") == 1
    assert house.value("loraplex_drift_window_requests", task="triage", window="live") == 200
    assert house.value("loraplex_quality_score_ratio", task="triage", adapter="triage@11111111") == 0.9
    assert house.value("loraplex_answer_logprob_nats_sum", task="triage", adapter="triage@11111111") == 0.5
    house.worker.reply = {"standing": {"signals": [], "windows": [], "scores": [], "parts": []}}
    house.end(house.draw())
    await house.pipeline.flush()
    labels = {"replica": "r0", "task": "triage", "signal": "topics"}
    assert house.registry.get_sample_value("loraplex_drift_detected", labels) is None


async def test_a_check_that_found_nothing_bad_yet_begins_at_zero() -> None:
    house = House()
    house.worker.reply = {"checks": [["triage", "triage@11111111", "stable", "refusal", 3, 0]]}
    house.end(house.draw())
    await house.pipeline.flush()
    labels = {"replica": "r0", "task": "triage", "adapter": "triage@11111111", "role": "stable", "check": "refusal"}
    assert house.registry.get_sample_value("loraplex_quality_checks_total", labels | {"result": "bad"}) == 0


async def test_a_version_that_is_forgotten_takes_its_series_along() -> None:
    house = House()
    house.worker.reply = {"checks": [["triage", "triage@11111111", "stable", "refusal", 3, 1]]}
    house.end(house.draw())
    await house.pipeline.flush()
    house.metrics.forget({"triage@11111111"})
    assert b"triage@11111111" not in house.metrics.render()


async def test_so_many_requests_of_a_minute_enter_the_windows() -> None:
    house = House(drift={"per_minute": 2})
    drawn = [house.draw() for _ in range(3)]
    house.clock.now += 60
    drawn.append(house.draw())
    assert [notes is not None and notes.is_drawn for notes in drawn] == [True, True, False, True]


async def test_who_names_a_version_in_full_is_observed_for_its_quality_alone() -> None:
    exact = Resolution("triage@11111111", "triage", None, "triage@11111111", Role.EXACT)
    notes = House().pipeline.draw(exact, Endpoint.CHAT, BODY, "req-1")
    assert notes is not None
    assert (notes.task, notes.role, notes.is_drawn) == ("triage", "exact", False)


async def test_a_shadows_copy_is_observed_for_its_quality_alone() -> None:
    house = House()
    notes = house.pipeline.draw(RESOLUTION, Endpoint.CHAT, BODY, "req-1", shadow="triage@22222222")
    assert notes is not None
    assert (notes.adapter, notes.role, notes.is_drawn) == ("triage@22222222", "shadow", False)
    without = House(quality=None)
    assert without.pipeline.draw(RESOLUTION, Endpoint.CHAT, BODY, "req-1", shadow="triage@22222222") is None


async def test_what_is_judged_is_the_whole_conversation_and_only_where_a_judge_is_asked() -> None:
    house = House(quality={"judge": JUDGE})
    house.end(house.draw())
    house.end(house.draw(), outcome="server_error")
    await house.pipeline.flush()
    judged, failed = house.worker.records
    assert json.loads(judged["content"])["messages"] == BODY["messages"]
    assert "content" not in failed
    plain = House()
    plain.end(plain.draw())
    await plain.pipeline.flush()
    assert "content" not in plain.worker.records[0]


async def test_a_judgment_of_one_answer_counts_once() -> None:
    house = House()
    for score in (0.0, 1.0):
        house.pipeline.feedback("chatcmpl-1", "triage", "triage@11111111", "stable", score)
    await house.pipeline.flush()
    assert [(record["kind"], record["score"]) for record in house.worker.records] == [("feedback", 0.0)]


async def test_long_texts_are_cut() -> None:
    house = House(max_chars=200)
    notes = house.draw(messages=[{"role": "user", "content": "x" * 5000}])
    house.end(notes)
    await house.pipeline.flush()
    assert len(house.worker.records[0]["prompt"]) == 200


async def test_an_answer_that_cannot_be_read_is_dropped_and_counted() -> None:
    house = House()
    notes = house.draw(text="nonsense", messages=None)
    assert notes is not None
    notes.endpoint = Endpoint.RESPONSES
    notes.body = {"input": {"role": "user"}, "text": 7}
    house.end(notes)
    notes.body = None  # type: ignore[assignment]
    house.end(notes)
    await house.pipeline.flush()
    assert len(house.worker.records) == 1
    assert house.value("loraplex_observations_total", result="dropped") == 1


def test_the_request_path_takes_microseconds() -> None:
    house = House(queue=100_000)
    text, record = FinishedText({}, "on its way", "stop"), RequestRecord("triage", "triage@11111111")
    best = 1.0
    for _ in range(20):
        began = perf_counter()
        for _ in range(200):
            notes = house.draw()
            assert notes is not None
            notes.texts([text])
            house.pipeline.ended(notes, record)
        best = min(best, (perf_counter() - began) / 200)
    assert best < 50e-6
