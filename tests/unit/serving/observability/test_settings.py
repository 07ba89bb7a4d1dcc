"""The sections `logging` and `tracing`."""

from pathlib import Path

import pytest

from serving.config import load_config, parse_config
from serving.errors import ConfigInvalid

MODEL = {"id": "org/base"}


def test_by_default_nothing_is_traced_no_text_is_logged_and_changes_are_recorded() -> None:
    config = parse_config({"model": MODEL, "tasks": {"t": {}}})
    assert not config.tracing.enabled
    assert not config.tasks["t"].log_texts
    assert not config.logging.error_messages
    assert config.logging.audit.enabled
    assert config.logging.audit.when_unwritable == "refuse"


@pytest.mark.parametrize("url", ["http://key@collector:4318/v1/traces", "https://collector/v1/traces?key=secret"])
def test_a_collectors_credentials_do_not_belong_into_the_file(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"`tracing\.endpoint`: must hold no credentials"):
        parse_config({"model": MODEL, "tracing": {"endpoint": url}})


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"tracing": {"sample_ratio": 1.5}}, "tracing.sample_ratio"),
        ({"tracing": {"endpoint": "collector:4318"}}, "tracing.endpoint"),
        ({"logging": {"format": "xml"}}, "logging.format"),
        ({"logging": {"audit": {"when_unwritable": "ignore"}}}, "logging.audit.when_unwritable"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, object], place: str) -> None:
    with pytest.raises(ConfigInvalid, match=place.replace(".", r"\.")):
        parse_config({"model": MODEL} | section)


def test_the_audit_log_is_the_same_file_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text("model: {id: org/base}\nlogging: {audit: {file: audit/log.jsonl}}\n")
    assert load_config(Path("gateway.yaml")).logging.audit.file == tmp_path / "audit" / "log.jsonl"
