"""The judge of an upgrade finds what it is there to find."""

from typing import Any

from benchmarks.load import Sample
from benchmarks.swap_check import VERSION_HEADER, Timeline
from benchmarks.upgrade_steps import Step, rows, wrong_versions


def _sample(at: float, version: str = "a@1", **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "tag": "0",
        "error": None,
        "status": 200,
        "started_at": at,
        "e2e_s": 0.5,
        "ttft_s": 0.1,
        "gaps_s": (0.1,),
        "text": f"[{version}] hello",
        "completion_tokens": 4,
        "fingerprint": version,
        "headers": {VERSION_HEADER: version},
    }
    return Sample(**values | changes)


def _timeline() -> Timeline:
    line = Timeline()
    line.enter(0.0, {"a@1"})
    line.enter(10.0, {"a@1", "a@2"})
    line.enter(11.0, {"a@2"})
    return line


def test_answers_of_the_version_of_the_moment_are_right() -> None:
    samples = [_sample(1.0), _sample(10.2), _sample(10.2, "a@2"), _sample(12.0, "a@2")]

    assert wrong_versions(samples, _timeline()) == []


def test_answers_of_another_version_are_found() -> None:
    early, late = _sample(1.0, "a@2"), _sample(12.0, "a@1")

    assert len(wrong_versions([early, late], _timeline())) == 2


def test_an_answer_must_say_the_same_thing_everywhere() -> None:
    samples = [
        _sample(1.0, fingerprint="a@2"),
        _sample(1.0, text="[a@2] hello"),
        _sample(1.0, headers={}),
    ]

    assert len(wrong_versions(samples, _timeline())) == 3


def test_requests_belong_to_the_step_that_they_were_sent_in() -> None:
    steps = [Step("first", 0.0, 4.0, {}), Step("second", 5.0, 7.0, {"gateway": [("0.1.0", 2)]})]
    samples = [
        _sample(1.0),
        _sample(4.9, error="status 503"),
        _sample(5.0, ttft_s=None, gaps_s=()),
        _sample(8.9),
        _sample(9.5),
    ]

    first, second = rows(steps, samples, 9.0)

    assert (first["step"], first["requests"], first["failed"]) == ("first", 2, 1)
    assert first["causes"] == {"status 503": 1}
    assert (second["requests"], second["streams"], second["seconds"]) == (2, 1, 2.0)
    assert second["gateway"] == [("0.1.0", 2)]
