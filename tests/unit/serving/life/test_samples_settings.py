"""The settings of samples: what they accept, and what they say about what they do not."""

from pathlib import Path
from typing import Any

import pytest

from serving.config import RolloutSettings, load_config, parse_config
from serving.errors import ConfigInvalid

JUDGE: dict[str, Any] = {"url": "http://judge/v1", "model": "m", "rubric": "Be right."}
PLACE = "adapters.rollouts.triage.signals.samples"


def problems(samples: Any) -> str:
    policy = {"signals": {"samples": samples}}
    with pytest.raises(ConfigInvalid) as caught:
        parse_config({"model": {"id": "org/base"}, "adapters": {"rollouts": {"triage": policy}}})
    return str(caught.value).partition("\n")[2]


def test_nothing_is_sampled_unless_it_is_asked_for() -> None:
    assert RolloutSettings().signals.samples is None
    assert "judge" not in RolloutSettings().signals.watched


def test_the_signals_of_samples_are_watched_beside_the_others() -> None:
    samples = {"judge": JUDGE | {"weight": 3.0}, "suite": {"file": "suite.yaml"}}
    watched = RolloutSettings.model_validate({"signals": {"samples": samples}}).signals.watched
    assert list(watched)[-2:] == ["suite", "judge"]
    assert (watched["judge"].weight, watched["suite"].margin) == (3.0, 0.05)


@pytest.mark.parametrize(
    ("samples", "place", "message"),
    [
        ({}, "", "nothing would score the samples"),
        ({"judge": JUDGE, "share": 0.0}, ".share", ""),
        ({"judge": JUDGE, "share": 1.5}, ".share", ""),
        ({"judge": JUDGE, "per_minute": 0}, ".per_minute", ""),
        ({"judge": JUDGE, "keep_minute": 5}, ".keep_minute", "keep_minutes"),
        ({"judge": JUDGE | {"requests_per_hour": 1}}, ".judge.requests_per_hour", ""),
        ({"judge": JUDGE | {"api_key": "sk-1"}}, ".judge.api_key", "api_key_env"),
        ({"judge": JUDGE | {"url": "https://ann:pw@judge/v1"}}, ".judge.url", "must hold no credentials"),
        ({"judge": JUDGE | {"url": "https://judge/v1?key=1"}}, ".judge.url", "must hold no credentials"),
        ({"judge": {"url": "http://judge/v1", "model": "m"}}, ".judge.rubric", "is required"),
        ({"suite": {}}, ".suite.file", "is required"),
    ],
)
def test_what_makes_no_sense_is_refused(samples: dict[str, Any], place: str, message: str) -> None:
    told = problems(samples)
    assert f"`{PLACE}{place}`" in told
    assert message in told


def test_the_suite_is_found_from_where_the_command_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "model: {id: org/base}\n"
        "adapters: {rollouts: {triage: {signals: {samples: {suite: {file: suites/triage.yaml}}}}}}\n"
    )
    samples = load_config(path).adapters.rollouts["triage"].signals.samples
    assert samples is not None
    assert samples.suite is not None
    assert samples.suite.file == tmp_path / "suites/triage.yaml"


def test_a_policy_is_read_again_as_it_was_written_down() -> None:
    samples = {"judge": JUDGE, "suite": {"file": "suite.yaml"}, "share": 0.5}
    policy = RolloutSettings.model_validate({"signals": {"samples": samples}})
    assert RolloutSettings.model_validate(policy.model_dump(mode="json")) == policy
