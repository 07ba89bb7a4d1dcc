"""The section `monitoring`."""

from pathlib import Path
from typing import Any, get_args

import pytest

from monitoring.drift.options import SIGNALS
from monitoring.quality.types import NAMES
from serving.config import GatewayConfig, parse_config
from serving.errors import ConfigInvalid
from serving.observing.options import quality_options, score_options
from serving.settings.monitoring import CheckName, QualitySettings, SignalName

JUDGE = {"url": "http://judge/v1", "model": "m", "rubric": "Be right."}


def parsed(monitoring: Any, **sections: Any) -> GatewayConfig:
    tasks = {"triage": {"adapter": "triage"}, "free": {}}
    return parse_config({"model": {"id": "org/base"}, "tasks": tasks, "monitoring": monitoring} | sections)


def test_without_the_section_nothing_is_observed_and_an_empty_one_observes() -> None:
    assert parse_config({"model": {"id": "org/base"}}).monitoring is None
    settings = parsed({}).monitoring
    assert settings is not None
    assert settings.share_of("triage") == 1.0
    assert not settings.keeps_texts_of("triage")


def test_every_check_and_every_signal_can_be_named() -> None:
    assert get_args(CheckName) == NAMES
    assert get_args(SignalName) == SIGNALS


def test_a_task_differs_where_it_says_so() -> None:
    own = {"share": 0.1, "keep_texts": True, "drift": False, "quality": {"logprobs": 5}}
    settings = parsed({"tasks": {"triage": own}}).monitoring
    assert settings is not None
    assert (settings.share_of("triage"), settings.share_of("free")) == (0.1, 1.0)
    assert (settings.keeps_texts_of("triage"), settings.keeps_texts_of("free")) == (True, False)
    assert settings.drift_of("triage") is None
    assert settings.drift_of("free") is not None
    quality = settings.quality_of("triage")
    assert quality is not None
    assert quality.logprobs == 5


@pytest.mark.parametrize(
    ("monitoring", "problem"),
    [
        ({"drift": None, "quality": None}, "both null"),
        ({"share": 1.5}, "share"),
        ({"shares": 0.5}, "did you mean `share`"),
        ({"drift": {"looks": [200, 100]}}, "growing"),
        ({"drift": {"looks": [5]}}, "looks"),
        ({"drift": {"weights": {"topic": 1.0}}}, "topic"),
        ({"drift": {"weights": dict.fromkeys(SIGNALS, 0.0)}}, "weights"),
        ({"drift": {"false_alarms_per_day": 100.0}}, "false alarm rate"),
        ({"drift": {"false_alarms_per_day": 0.001}}, "a level of"),
        ({"drift": {"live_rows": 100}}, "live_rows"),
        ({"drift": {"reference_requests": 100_000}}, "reference_requests"),
        ({"quality": {"checks": {"refusal": 2.0}}}, "checks"),
        ({"quality": {"off": ["manners"]}}, "off"),
        ({"quality": {"language": "english"}}, "two small letters"),
        ({"quality": {"language": "ca"}}, "told apart: .*cs, "),
        ({"quality": {"judge": JUDGE, "off": ["judge"]}}, "set beside it"),
        ({"quality": {"logprobs": 21}}, "logprobs"),
        ({"quality": {"judge": JUDGE | {"url": "http://key@judge"}}}, "credentials"),
        ({"quality": {"self_consistency": {"temperature": 0.0}}}, "temperature"),
        ({"tasks": {"nobody": {}}}, "no task or adapter of that name"),
    ],
)
def test_a_mistake_is_told_with_its_place(monitoring: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigInvalid, match=problem):
        parsed(monitoring)


def test_an_engine_is_not_asked_for_more_than_it_gives() -> None:
    engine = {"args": {"max_logprobs": 3}}
    assert parsed({"quality": {"logprobs": 3}}, engine=engine).monitoring is not None
    for monitoring in ({"quality": {"logprobs": 4}}, {"tasks": {"free": {"quality": {"logprobs": 4}}}}):
        with pytest.raises(ConfigInvalid, match="max_logprobs"):
            parsed(monitoring, engine=engine)


def test_a_rollouts_signal_needs_what_it_is_made_of() -> None:
    rollouts: dict[str, Any] = {"rollouts": {"triage": {"signals": {"quality": {}}}}}
    assert parsed({}, adapters=rollouts).adapters.rollouts["triage"].signals.scored
    for monitoring in (None, {"quality": None}):
        with pytest.raises(ConfigInvalid, match=r"signals\.quality"):
            parsed(monitoring, adapters=rollouts)


def test_paths_are_taken_from_the_folder_of_the_command(tmp_path: Path) -> None:
    made = parsed({"drift": {"embedder": {"model": "./minilm"}}}).with_absolute_paths(tmp_path).monitoring
    assert made is not None
    assert made.drift is not None
    assert made.drift.embedder is not None
    assert made.drift.embedder.model == str(tmp_path / "minilm")


def test_the_section_survives_another_process() -> None:
    made = parsed({"quality": {"judge": JUDGE, "off": ["language"]}, "drift": {"looks": [100, 300]}})
    assert parse_config(made.model_dump(mode="json", by_alias=True)) == made


def test_settings_become_what_the_libraries_are_asked_for() -> None:
    settings = QualitySettings.model_validate({"language": "de", "off": ["grounded"], "checks": {"refusal": 0.0}})
    options = quality_options(settings, None)
    assert (options.language.expected, options.language.enabled) == ("de", True)
    assert options.disabled == {"grounded"}
    assert score_options(settings).weight("refusal") == 0.0
    anything = quality_options(QualitySettings(language="any"), None)
    assert not anything.language.enabled
    knowledge: dict[str, Any] = {"knowledge": {"bases": {"docs": {}}}}
    retrieving = {"tasks": {"ask": {"retrieval": {"knowledge": ["docs"], "refusal": "The documents do not tell."}}}}
    task = parsed({}, **knowledge, **retrieving).tasks["ask"]
    assert quality_options(settings, task).refusal.stated == ("The documents do not tell.",)
