"""What a detector keeps over a restart."""

import json
from dataclasses import replace
from typing import Any

import pytest

from monitoring.drift.detector import DriftDetector
from monitoring.drift.errors import StateUnreadable
from tests.drift_traffic import OPTIONS, Traffic, watch, watching


def test_a_detector_goes_on_where_its_state_was_taken() -> None:
    traffic = Traffic(18)
    detector = watching(traffic)
    watch(detector, traffic.requests(50, language="fr"))
    again = DriftDetector.from_json(json.loads(json.dumps(detector.to_json())), OPTIONS, seed=1)
    assert again.report(49.0) == detector.report(49.0)

    for request in traffic.requests(50, at=50.0, language="fr"):
        detector.observe(request)
        again.observe(request)

    assert again.report(99.0) == detector.report(99.0)
    assert again.report(100.0) == detector.report(100.0)


def test_a_reference_that_is_being_gathered_survives_too() -> None:
    traffic, detector = Traffic(19), DriftDetector(OPTIONS, seed=1)
    for request in traffic.requests(120):
        detector.observe(request)

    again = DriftDetector.from_json(json.loads(json.dumps(detector.to_json())), OPTIONS, seed=1)
    again.freeze_reference()

    assert again.report(120.0).reference == detector.report(120.0).reference


def _spoilt(name: str) -> Any:
    state = watching(Traffic(20)).to_json()
    match name:
        case "version":
            return {**state, "version": 2}
        case "missing":
            return {key: value for key, value in state.items() if key != "since"}
        case "vectors":
            return {**state, "reference": {**state["reference"], "vectors": "!"}}
        case "rows":
            return {**state, "reference": {**state["reference"], "rows": [[1, 2]]}}
        case "places":
            return {**state, "reference": {**state["reference"], "embedded": list(range(1_000, 1_300))}}
        case _:
            return []


@pytest.mark.parametrize("name", ["version", "missing", "vectors", "rows", "places", "no object"])
def test_a_state_that_cannot_be_read_says_so(name: str) -> None:
    with pytest.raises(StateUnreadable, match="cannot be read"):
        DriftDetector.from_json(_spoilt(name), OPTIONS, seed=1)


def test_other_options_may_go_on_with_a_state() -> None:
    traffic = Traffic(21)
    detector = watching(traffic)
    watch(detector, traffic.requests(60))
    smaller = replace(OPTIONS, reference_size=150, live_size=40, looks=(80,), text_length=0)

    again = DriftDetector.from_json(detector.to_json(), smaller, seed=2)

    report = again.report(61.0)
    assert report.live is not None
    assert (report.reference.rows, report.live.rows, report.live.seen) == (150, 40, 60)
    for request in traffic.requests(20, at=62.0):
        again.observe(request)
    assert again.report(82.0).closed
