"""Every task's windows and scores."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from monitoring.drift.sample import sampling_error
from retrieval.types import Vectors
from serving.config import GatewayConfig, parse_config
from serving.observing.records import DRIFT, QUALITY, StateKey
from serving.observing.references import Row
from serving.observing.windows import Means, Windows
from tests.unit.serving.observing.facts import VERSION, fact, facts
from tests.word_embedder import WordEmbedder

SMALL: dict[str, Any] = {"reference_requests": 200, "reference_hours": 0.0, "looks": [100], "window_hours": 0.01}
SMALL |= {"false_alarms_per_day": 100.0}
SECRET = "the vault is behind the painting"
LATER = 1_000_000.0 + 3600


def config(**monitoring: Any) -> GatewayConfig:
    tasks = {"triage": {"adapter": "triage"}, "other": {}}
    return parse_config({"model": {"id": "org/base"}, "tasks": tasks, "monitoring": {"drift": SMALL} | monitoring})


def windows(*, away: bool = False, **monitoring: Any) -> Windows:
    made = config(**monitoring)
    assert made.monitoring is not None

    def embed(texts: Sequence[str]) -> Vectors | None:
        return None if away else WordEmbedder().embed_queries(texts)

    return Windows(made, made.monitoring, Means(embed, lambda: "words", lambda text: "en"))


def reloaded(it: Windows, **monitoring: Any) -> Windows:
    another = windows(**monitoring)
    another.load(it.changed())
    return another


def drifted(report: dict[str, Any]) -> set[str]:
    return {signal["name"] for signal in report["drift"]["signals"] if signal["detected"]}


def test_the_first_requests_become_the_reference_and_the_next_the_live_window() -> None:
    it = windows()
    it.fold(facts(150))
    gathering = it.reports(LATER)["triage"]["drift"]
    assert (gathering["frozen"], gathering["reference"]["rows"], gathering["live"]) == (False, 150, None)
    it.fold(facts(150))
    drift = it.reports(LATER)["triage"]["drift"]
    assert (drift["frozen"], drift["reference"]["rows"], drift["live"]["rows"]) == (True, 200, 100)


def test_another_topic_is_detected_and_the_same_ones_are_not() -> None:
    it = windows()
    it.fold(facts(200))
    it.fold(facts(100))
    assert drifted(it.reports(LATER)["triage"]) == set()
    it = windows()
    it.fold(facts(200))
    it.fold(facts(100, ("asteroid", "comet")))
    report = it.reports(LATER)["triage"]
    assert {"topics", "embedding"} <= drifted(report)
    assert report["drift"]["unusual"]
    assert all(one["text"] is None for one in report["drift"]["unusual"])


def test_tasks_are_told_apart_and_those_that_are_left_out_have_no_windows() -> None:
    it = windows(tasks={"other": {"drift": False}})
    it.fold([fact(), fact(task="other")])
    reports = it.reports(LATER)
    assert reports["triage"]["drift"] is not None
    assert reports["other"]["drift"] is None


def test_scores_are_by_task_and_version_and_say_what_went_wrong() -> None:
    it = windows()
    it.fold(facts(40, drift=None))
    worse = "triage@22222222"
    it.fold(facts(40, adapter=worse, checks=[["refusal", 1.0]], drift=None))
    quality = it.reports(LATER)["triage"]["quality"]
    assert quality[VERSION]["score"] == 1.0
    assert quality[worse]["score"] == pytest.approx(0.3)
    assert quality[worse]["parts"]["refusal"]["value"] == 0.0
    assert quality[worse]["requests"] == 40


def test_what_is_asked_of_a_version_by_its_full_name_is_in_no_score() -> None:
    it = windows()
    it.fold(facts(30, role="exact", drift=None))
    assert it.reports(LATER) == {}


def test_a_canary_is_shown_beside_the_stable_version() -> None:
    it, canary, former = windows(), "triage@22222222", "triage@00000000"
    it.fold(facts(60, drift=None))
    it.fold(facts(60, adapter=canary, role="canary", checks=[["refusal", 1.0]], drift=None))
    it.fold(facts(1, adapter=former, counts=False, checks=[["feedback", 0.0]], drift=None))
    quality = it.reports(LATER)["triage"]["quality"]
    beside = quality[canary]["beside_stable"]
    assert beside["value"] == pytest.approx(-0.7)
    assert beside["value"] < beside["interval"][1] < 0
    assert beside["worst"] == "refusal"
    assert quality[VERSION]["beside_stable"] is None
    assert quality[former]["beside_stable"] is None


def test_what_is_found_out_later_counts_no_further_request() -> None:
    it = windows()
    it.fold(facts(30, drift=None))
    it.fold(facts(5, drift=None, counts=False, checks=[["feedback", 1.0]]))
    quality = it.reports(LATER)["triage"]["quality"][VERSION]
    assert quality["requests"] == 30
    assert quality["parts"]["feedback"]["verdicts"] == 5


def test_states_survive_another_process() -> None:
    it = windows()
    it.fold(facts(260))
    before = it.reports(LATER)
    after = reloaded(it).reports(LATER)
    assert after["triage"]["quality"] == before["triage"]["quality"]
    assert after["triage"]["drift"]["live"] == before["triage"]["drift"]["live"]


def test_only_what_has_changed_is_written_again() -> None:
    it = windows()
    it.fold([fact(), fact(task="other")])
    assert len(it.changed()) == 4
    it.saved()
    assert it.changed() == {}
    it.fold([fact(drift=None)])
    assert list(it.changed()) == [StateKey(QUALITY, "triage", VERSION)]


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"detector": {}, "version": null, "model": "", "note": ""}'])
def test_a_state_that_cannot_be_read_begins_anew(data: str) -> None:
    it = windows()
    it.load({StateKey(DRIFT, "triage"): data, StateKey(QUALITY, "triage", VERSION): data})
    it.fold(facts(30))
    assert it.reports(LATER)["triage"]["drift"]["reference"]["rows"] == 30


def test_requests_of_late_become_the_reference_when_somebody_says_so() -> None:
    it = windows(drift=SMALL | {"looks": [1000]})
    it.fold(facts(200))
    with pytest.raises(ValueError, match="200"):
        it.freeze("triage")
    with pytest.raises(ValueError, match="no request for other"):
        it.freeze("other")
    it.fold(facts(220, ("asteroid", "comet")))
    assert it.freeze("triage") == "220 requests of late"
    drift = it.reports(LATER)["triage"]["drift"]
    assert (drift["reference"]["rows"], drift["live"]["rows"]) == (220, 0)


def test_training_data_becomes_the_reference_and_says_nothing_of_routing() -> None:
    it = windows()
    rows = [Row(f"question {number % 37} about my {word}", "An answer.") for number in range(60) for word in ("a", "b")]
    with pytest.raises(ValueError, match="at least"):
        it.replace("triage", VERSION, rows[:50])
    assert it.replace("triage", VERSION, rows * 2).startswith("240 rows")
    it.fold(facts(100, ("asteroid", "comet"), adapter="triage@22222222"))
    report = it.reports(LATER)["triage"]
    assert report["drift"]["reference_of"] == VERSION
    assert "topics" in drifted(report)
    names = {signal["name"] for signal in report["drift"]["signals"]}
    assert names & {"routing", "outcome", "retrieval_score"} == set()
    assert reloaded(it).reports(LATER)["triage"]["drift"]["reference_of"] == VERSION


def test_training_data_is_refused_where_it_says_nothing_of_what_is_watched() -> None:
    unsaid = dict.fromkeys(("topics", "embedding", "prompt_length", "answer_length", "language"), 0.0)
    it = windows(drift=SMALL | {"weights": unsaid})
    with pytest.raises(ValueError, match="no signal that is watched"):
        it.replace("triage", VERSION, [Row("a question", "An answer.")] * 300)


def test_the_error_of_sampling_is_that_of_all_shares_together() -> None:
    it = windows(share=0.5, drift=SMALL | {"share": 0.2})
    it.fold(facts(250))
    live = it.reports(LATER)["triage"]["drift"]["live"]
    assert (live["rows"], live["seen"]) == (50, 50)
    assert live["sampling_error"] == sampling_error(50, 500)


def test_training_data_waits_for_an_embedder() -> None:
    with pytest.raises(ValueError, match="cannot be embedded now"):
        windows(away=True).replace("triage", VERSION, [Row("a", "b")])


def test_another_embedding_model_begins_anew_and_says_so() -> None:
    it = windows()
    it.fold(facts(200))
    other = fact()
    other["drift"]["model"] = "another"
    it.fold([other])
    drift = it.reports(LATER)["triage"]["drift"]
    assert (drift["frozen"], drift["reference"]["rows"]) == (False, 1)
    assert "another model" in drift["note"]


def test_windows_that_cannot_be_looked_at_begin_anew_and_stop_no_other_task() -> None:
    it = windows()
    it.fold([*facts(250), fact(task="other")])
    it._watched["triage"].detector._signals = ("nonsense",)  # type: ignore[assignment]
    reports = it.reports(LATER)
    assert "failed with AttributeError" in reports["triage"]["drift"]["note"]
    assert not reports["triage"]["drift"]["frozen"]
    assert reports["other"]["drift"]["reference"]["rows"] == 1


def test_requests_without_a_vector_are_compared_in_everything_else() -> None:
    it = windows()
    for number, one in enumerate(facts(320)):
        one["drift"] |= {"embedding": None, "model": "", "prompt_tokens": 12 if number < 200 else 900}
        it.fold([one])
    assert "prompt_length" in drifted(it.reports(LATER)["triage"])


def test_texts_are_kept_where_they_may_be_and_forgotten_when_they_may_no_longer() -> None:
    it = windows(keep_texts=True)
    it.fold(facts(200))
    strange = facts(100, ("asteroid", "comet"))
    for one in strange:
        one["drift"]["text"] = SECRET
    it.fold(strange)
    report = it.reports(LATER)["triage"]
    assert SECRET in {one["text"] for one in report["drift"]["unusual"]}
    without = reloaded(it)
    without.fold(facts(1))
    assert SECRET not in json.dumps(without.reports(LATER), default=float)
    assert SECRET not in str(without.changed())


def test_versions_and_tasks_that_are_gone_are_forgotten() -> None:
    it = windows()
    it.fold([fact(), fact(adapter="triage@22222222"), fact(task="removed"), fact(adapter="base", task="other")])
    gone = it.forget({VERSION}, 1_000_100.0)
    assert set(gone) == {
        StateKey(QUALITY, "triage", "triage@22222222"),
        StateKey(QUALITY, "removed", VERSION),
        StateKey(DRIFT, "removed"),
    }
    assert set(it.reports(LATER)) == {"triage", "other"}
    assert StateKey(QUALITY, "triage", VERSION) in it.forget({VERSION}, 1_000_000.0 + 40 * 86_400)
