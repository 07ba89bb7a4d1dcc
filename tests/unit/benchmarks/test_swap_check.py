"""The judge of a swap run finds what it is there to find."""

from typing import Any

from benchmarks.load import Sample
from benchmarks.swap_check import BASE, VERSION_HEADER, Judge, Sent, Timeline, count_by_version

MARKERS = {"marker@1": "alpha", "marker@2": "beta"}


def timeline() -> Timeline:
    line = Timeline()
    line.enter(0.0, {"marker@1"})
    line.enter(10.0, {"marker@1", "marker@2"})
    line.enter(11.0, {"marker@2"})
    return line


def sample(version: str, text: str, *, at: float, tag: int = 0, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "tag": str(tag),
        "error": None,
        "status": 200,
        "started_at": at,
        "e2e_s": 0.5,
        "text": text,
        "completion_tokens": 4,
        "fingerprint": "base-model" if version == BASE else version,
        "headers": {VERSION_HEADER: version},
    }
    return Sample(**values | changes)


def causes(sent: list[Sent], *samples: Sample) -> list[str]:
    judge = Judge("base-model", MARKERS, timeline())
    return [violation.cause for violation in judge.violations(sent, samples)]


ALIAS = Sent("marker", "anonymous")


def test_an_answer_by_the_version_of_the_moment_is_good() -> None:
    assert causes([ALIAS], sample("marker@1", "alpha", at=1.0)) == []


def test_while_a_swap_is_under_way_both_versions_may_answer() -> None:
    assert causes([ALIAS], sample("marker@1", "alpha", at=10.2), sample("marker@2", "beta", at=10.2)) == []


def test_a_request_that_began_before_the_swap_ended_may_still_get_the_old_version() -> None:
    assert causes([ALIAS], sample("marker@1", "alpha", at=10.9)) == []


def test_the_old_version_may_not_answer_what_was_sent_after_the_swap() -> None:
    assert causes([ALIAS], sample("marker@1", "alpha", at=11.1)) == ["a version that should not answer then"]


def test_the_new_version_may_not_answer_before_the_swap() -> None:
    assert causes([ALIAS], sample("marker@2", "beta", at=5.0)) == ["a version that should not answer then"]


def test_text_of_another_version_than_reported_is_found() -> None:
    assert causes([ALIAS], sample("marker@1", "beta", at=1.0)) == ["the answer is not of the version reported"]


def test_text_of_no_version_is_found() -> None:
    assert causes([ALIAS], sample("marker@1", "hello", at=1.0)) == ["the answer is not of the version reported"]


def test_the_base_model_may_not_speak_like_an_adapter() -> None:
    asked = Sent("base-model", "base")
    assert causes([asked], sample(BASE, "hello", at=1.0)) == []
    assert causes([asked], sample(BASE, "alpha", at=1.0)) == ["the answer is not of the version reported"]


def test_header_and_fingerprint_must_agree() -> None:
    found = causes([ALIAS], sample("marker@1", "alpha", at=1.0, fingerprint="marker@2"))
    assert found == ["header and fingerprint differ"]


def test_a_version_asked_for_by_name_answers_whatever_the_alias_says() -> None:
    asked = Sent("marker@2", "exact")
    assert causes([asked], sample("marker@2", "beta", at=1.0)) == []
    assert causes([asked], sample("marker@1", "alpha", at=1.0)) == ["a version that should not answer then"]


def test_a_caller_may_not_move_between_versions_while_nothing_changes() -> None:
    line = Timeline()
    line.enter(0.0, {"marker@1", "marker@2"})
    sent = [Sent("marker", "keyed", "ann"), Sent("marker", "keyed", "ann"), Sent("marker", "keyed", "bob")]
    samples = [
        sample("marker@1", "alpha", at=1.0, tag=0),
        sample("marker@2", "beta", at=2.0, tag=1),
        sample("marker@2", "beta", at=2.0, tag=2),
    ]
    found = Judge("base-model", MARKERS, line).violations(sent, samples)
    assert [violation.cause for violation in found] == ["a caller moved between versions"]


def test_failures_are_counted_elsewhere_and_not_judged() -> None:
    failed = sample("marker@2", "", at=1.0, error="status 503")
    assert causes([ALIAS], failed) == []
    assert count_by_version([failed, sample("marker@1", "alpha", at=1.0)]) == {"marker@1": 1}
