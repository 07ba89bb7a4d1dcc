"""One task's detector: reference, live windows, looks, and what is kept of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from monitoring.drift.detector import DriftDetector
from monitoring.drift.errors import DimensionChanged, ReferenceTooSmall
from monitoring.drift.options import SIGNALS
from monitoring.drift.sample import sampling_error
from tests.drift_traffic import NEW, OPTIONS, Traffic, signal_of, watch, watching

# What is found


def test_windows_without_a_change_alarm_no_more_often_than_configured() -> None:
    options = replace(OPTIONS, reference_size=200, live_size=60, looks=(30, 60), false_alarms_per_window=0.2)
    alarms = 0
    for seed in range(8):
        traffic = Traffic(seed, dimension=8)
        detector = watching(traffic, options)
        for _ in range(10):
            alarms += any(report.found for report in watch(detector, traffic.requests(60), options))

    # 80 windows with probability 0.2 come to more than 27 once in a thousand times, if they were independent.
    assert alarms <= 27


def test_a_new_topic_of_a_twentieth_of_200_requests_is_found() -> None:
    options = replace(OPTIONS, reference_size=800, live_size=200, looks=(200,))
    found = 0
    for seed in range(6):
        traffic = Traffic(seed)
        (report,) = watch(watching(traffic, options), traffic.requests(200, share=0.05, topic=NEW), options)
        found += "topics" in report.found

    assert found >= 5


def test_a_topic_that_grows_is_found_and_shown() -> None:
    traffic = Traffic(1)
    _, report = watch(watching(traffic), traffic.requests(100, share=0.5, topic=3))

    assert signal_of(report, "topics").detected
    assert signal_of(report, "embedding").detected
    assert signal_of(report, "topics").effect > 0.1
    assert "neighbourhood" in signal_of(report, "topics").note
    assert len(report.grown) > 10
    assert sum(one.text == "about topic 3" for one in report.grown) > 0.8 * len(report.grown)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("prompt_length", {"prompt_tokens": 90}),
        ("answer_length", {"answer_tokens": 30}),
        ("language", {"language": "fr"}),
        ("routing", {"adapter": "triage@9"}),
        ("retrieval_score", {"retrieval_score": 0.1}),
        ("outcome", {"outcome": "timeout"}),
    ],
)
def test_a_change_is_found_by_the_signal_that_it_is_of(name: str, changes: dict[str, Any]) -> None:
    traffic = Traffic(2)
    report = watch(watching(traffic), traffic.requests(50, **changes))[0]

    assert name in report.found
    signal = signal_of(report, name)
    assert signal.detected
    assert signal.effect > 0.5
    assert (signal.reference_n, signal.live_n) == (300, 50)
    assert signal.p_value <= signal.alpha


def test_signals_come_in_one_order_and_share_the_rate_of_the_look() -> None:
    traffic = Traffic(3)
    first, last = watch(watching(traffic), traffic.requests(100))

    for report in (first, last):
        assert tuple(signal.name for signal in report.signals) == SIGNALS
        assert sum(signal.alpha for signal in report.signals) == pytest.approx(0.025)
    assert signal_of(first, "topics").alpha == pytest.approx(3 * signal_of(first, "outcome").alpha)


def test_what_has_no_values_is_not_tested_and_leaves_its_rate_to_the_others() -> None:
    traffic = Traffic(4)
    detector = watching(traffic, retrieval_score=None, embedding=None)
    report = watch(detector, traffic.requests(50, retrieval_score=None))[0]

    untested = [signal for signal in report.signals if signal.name in ("topics", "embedding", "retrieval_score")]
    assert [(one.p_value, one.alpha, one.detected) for one in untested] == [(1.0, 0.0, False)] * 3
    assert all("not tested" in one.note for one in untested)
    assert sum(signal.alpha for signal in report.signals) == pytest.approx(0.025)
    assert (report.unusual, report.map) == ((), ())


def test_a_signal_without_weight_is_not_watched() -> None:
    traffic = Traffic(5)
    options = replace(OPTIONS, weights={"language": 1.0, "topics": 0.0})

    report = watch(watching(traffic, options), traffic.requests(50), options)[0]

    assert [signal.name for signal in report.signals] == ["language"]


# When it is looked at


def test_nothing_is_looked_at_before_its_time_or_twice() -> None:
    traffic = Traffic(6)
    detector = watching(traffic)
    assert detector.report(0.0).signals == ()
    for request in traffic.requests(49):
        detector.observe(request)
    assert detector.report(48.0).signals == ()
    (request,) = traffic.requests(1, at=49.0, language="fr")
    detector.observe(request)

    looked, again = detector.report(49.0), detector.report(49.5)

    assert len(looked.signals) == len(SIGNALS)
    assert again == replace(looked, at=49.5, found=())


def test_a_look_that_comes_late_may_spend_what_the_missed_one_would_have() -> None:
    traffic = Traffic(7)
    detector = watching(traffic)
    for request in traffic.requests(100):
        detector.observe(request)

    report = detector.report(99.0)

    assert report.closed
    assert sum(signal.alpha for signal in report.signals) == pytest.approx(0.05)


def test_a_window_lasts_as_long_as_it_must() -> None:
    traffic, options = Traffic(8), replace(OPTIONS, window_s=1_000.0)
    detector = watching(traffic, options)
    first, waiting = watch(detector, traffic.requests(100), options)
    assert (first.closed, waiting.closed, waiting.found) == (False, False, ())
    assert waiting.live is not None
    assert waiting.live.seen == 100

    closing, after = detector.report(1_000.0), detector.report(1_001.0)

    assert (closing.closed, closing.window, after.closed, after.window) == (True, 1, False, 2)
    assert after.live is not None
    assert after.live.seen == 0
    assert after.signals == closing.signals


def test_what_was_found_stands_until_a_whole_window_does_not_show_it() -> None:
    traffic = Traffic(9)
    detector = watching(traffic)
    first, second = watch(detector, traffic.requests(100, language="fr"))
    assert "language" in first.found
    assert signal_of(second, "language").since == 49.0

    again, over = watch(detector, traffic.requests(100, at=100.0))

    assert "language" not in again.found
    assert signal_of(again, "language").detected
    assert signal_of(again, "language").since == 49.0
    assert not signal_of(over, "language").detected
    assert signal_of(over, "language").since is None


def test_a_look_that_is_broken_off_is_made_again() -> None:
    detector, unbroken = watching(Traffic(22)), watching(Traffic(22))
    for request in Traffic(23).requests(50, language="fr"):
        detector.observe(request)
        unbroken.observe(request)

    def break_off() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        detector.report(49.0, break_off)

    assert detector.report(49.0) == unbroken.report(49.0)


# The reference


def test_a_reference_is_frozen_once_it_has_enough_requests_and_hours() -> None:
    options = replace(OPTIONS, reference_requests=120, reference_s=500.0)
    traffic, detector = Traffic(10), DriftDetector(options, seed=1)
    for request in traffic.requests(200):
        detector.observe(request)
    report = detector.report(199.0)
    assert (report.frozen, report.live, report.window, report.signals) == (False, None, 0, ())
    assert report.reference.seen == 200

    detector.observe(traffic.requests(1, at=500.0)[0])

    report = detector.report(500.0)
    assert report.frozen
    assert (report.reference.seen, report.window) == (201, 1)


def test_a_reference_that_is_too_small_changes_nothing() -> None:
    traffic = Traffic(11)
    gathering, detector = DriftDetector(OPTIONS, seed=1), watching(traffic)
    before = detector.report(0.0)
    for request in traffic.requests(99):
        gathering.observe(request)

    with pytest.raises(ReferenceTooSmall, match="100 requests at least, there are 99"):
        gathering.freeze_reference()
    with pytest.raises(ReferenceTooSmall):
        detector.freeze_reference()
    with pytest.raises(ReferenceTooSmall):
        detector.use_reference(traffic.requests(20))

    assert not gathering.frozen
    assert detector.report(0.0) == before


def test_the_live_window_can_become_the_reference_and_forgets_its_prompts() -> None:
    traffic, options = Traffic(12), replace(OPTIONS, looks=(50, 10_000))
    detector = watching(traffic, options)
    (report,) = watch(detector, traffic.requests(150, language="fr"), options)
    assert signal_of(report, "language").detected
    assert any(one.text for one in report.unusual)

    detector.freeze_reference()

    after = detector.report(150.0)
    assert (after.reference.rows, after.reference.seen, after.signals, after.unusual) == (100, 150, (), ())
    assert "about topic" not in json.dumps(detector.to_json())
    (report,) = watch(detector, traffic.requests(60, language="fr"), options)
    assert not signal_of(report, "language").detected


def test_a_new_reference_is_gathered_on_demand() -> None:
    traffic = Traffic(13)
    detector = watching(traffic)
    watch(detector, traffic.requests(50, language="fr"))

    detector.restart_reference()

    report = detector.report(60.0)
    assert (report.frozen, report.reference.seen, report.signals) == (False, 0, ())
    # Another embedding model may fill it.
    for request in Traffic(13, dimension=8).requests(100):
        detector.observe(request)
    detector.freeze_reference()
    assert detector.frozen


def test_an_embedding_of_another_model_is_refused_and_not_counted() -> None:
    detector = watching(Traffic(14))

    with pytest.raises(DimensionChanged):
        detector.observe(Traffic(14, dimension=8).requests(1)[0])

    live = detector.report(0.0).live
    assert live is not None
    assert live.seen == 0


def test_the_sampling_error_knows_of_the_requests_that_were_not_observed() -> None:
    options = replace(OPTIONS, share=0.1)
    detector = watching(Traffic(24), options)
    for request in Traffic(25).requests(60):
        detector.observe(request)

    report = DriftDetector.from_json(detector.to_json(), options, seed=1).report(59.0)

    assert report.live is not None
    assert (report.live.rows, report.live.seen) == (60, 60)
    assert report.live.sampling_error == sampling_error(60, 600)
    # Rows that were given are all that there are.
    assert report.reference.sampling_error == 0.0


# What a person sees


def test_the_most_distant_prompts_come_first_with_their_texts() -> None:
    traffic = Traffic(15)
    _, report = watch(watching(traffic), traffic.requests(100, share=0.04, topic=NEW))

    distances = [one.distance for one in report.unusual]
    assert len(distances) == OPTIONS.unusual
    assert distances == sorted(distances, reverse=True)
    assert [one.text for one in report.unusual[:4]] == [f"about topic {NEW}"] * 4
    assert all(1 <= one.place <= 100 for one in report.unusual)


def test_no_prompt_is_kept_where_none_may_be() -> None:
    traffic, options = Traffic(16), replace(OPTIONS, text_length=0)
    detector = watching(traffic, options)
    report = watch(detector, traffic.requests(100, share=0.5, topic=3), options)[1]

    assert {one.text for one in (*report.unusual, *report.grown)} == {None}
    assert "about topic" not in json.dumps(detector.to_json())


def test_the_map_shows_some_of_both_windows_and_all_that_is_marked() -> None:
    traffic, options = Traffic(17), replace(OPTIONS, map_points=20)
    report = watch(watching(traffic, options), traffic.requests(50), options)[0]

    reference = [point for point in report.map if not point.live]
    live = [point for point in report.map if point.live]
    assert len(reference) == 20
    assert 20 <= len(live) <= 20 + options.unusual
    assert not any(point.marked for point in reference)
    assert {one.place for one in report.unusual} <= {point.place for point in live if point.marked}
