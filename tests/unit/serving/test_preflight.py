"""What a valid configuration still needs from the machine."""

from pathlib import Path
from typing import Any

import pytest

from serving.config import parse_config
from serving.preflight import preflight, quick_preflight


def _missing(**sections: Any) -> list[str]:
    return quick_preflight(parse_config({"model": {"id": "org/base"}} | sections))


def _remote(**settings: Any) -> dict[str, Any]:
    return {"kind": "openai", "url": "http://127.0.0.1:9/v1"} | settings


def test_a_hub_id_is_looked_up_only_at_the_start() -> None:
    assert _missing() == []


def test_a_local_model_must_be_a_checkpoint(tmp_path: Path) -> None:
    model = {"id": str(tmp_path)}
    assert _missing(model=model) == [f"`model.id`: there is no checkpoint in {tmp_path} (no config.json)"]

    (tmp_path / "config.json").touch()
    assert _missing(model=model) == [f"`model.id`: there is no checkpoint in {tmp_path} (no .safetensors file)"]

    (tmp_path / "model.safetensors").touch()
    assert _missing(model=model) == []


def test_vllm_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert [line.split(";")[0] for line in _missing()] == [
        "`engine.kind`: vLLM needs a C++ compiler at run time",
    ]
    assert _missing(engine={"env": {"TORCHDYNAMO_DISABLE": "1"}}) == []
    assert _missing(engine=_remote()) == []


def test_an_environment_without_compilation_needs_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")

    assert _missing() == []
    assert len(_missing(engine={"env": {"TORCH_COMPILE_DISABLE": "0"}})) == 1


def test_a_remote_engine_needs_no_checkpoint_here(tmp_path: Path) -> None:
    assert _missing(model={"id": str(tmp_path / "none")}, engine=_remote()) == []


def test_a_named_secret_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTE_KEY", "")
    assert len(_missing(engine=_remote(api_key_env="REMOTE_KEY"))) == 1

    monkeypatch.setenv("REMOTE_KEY", "secret")
    assert _missing(engine=_remote(api_key_env="REMOTE_KEY")) == []


def test_a_gone_adapter_source_does_not_stop_a_start(tmp_path: Path) -> None:
    preload = [{"name": "a", "source": str(tmp_path / "gone")}]

    assert _missing(adapters={"preload": preload}) == []


def test_a_database_driver_that_is_not_installed_is_named() -> None:
    (problem,) = _missing(state={"url": "postgresql+pg8000://h/d"})

    assert problem == "`state.url`: the driver of `postgresql+pg8000` is not installed"


def test_an_examination_needs_a_key_where_the_gateway_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(authentication: str) -> list[str]:
        sections: dict[str, Any] = {
            "engine": _remote(),
            "server": {"authentication": authentication},
            "api_keys": [{"name": "a", "hash": f"sha256:{'0' * 64}"}],
            "adapters": {"rollouts": {"triage": {"suite": "suite.yaml"}}},
            "life": {"api_key_env": "EXAM_KEY"},
        }
        return preflight(parse_config({"model": {"id": "org/base"}} | sections))

    monkeypatch.setenv("EXAM_KEY", "")
    (problem,) = missing("required")
    assert "EXAM_KEY is not set; the suite of `adapters.rollouts.triage`" in problem
    assert missing("off") == []

    monkeypatch.setenv("EXAM_KEY", "secret")
    assert missing("required") == []


def test_what_would_score_samples_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    judge = {"url": "http://judge/v1", "model": "m", "rubric": "Be right.", "api_key_env": "REFEREE_KEY"}
    samples = {"suite": {"file": str(suite)}, "judge": judge}
    adapters = {"rollouts": {"a": {"signals": {"samples": samples}}, "b": {}}}
    config = parse_config({"model": {"id": "org/base"}, "engine": _remote(), "adapters": adapters})
    monkeypatch.delenv("REFEREE_KEY", raising=False)
    place = "`adapters.rollouts.a.signals.samples"

    assert preflight(config) == [
        f"{place}.suite.file`: there is no file {suite}",
        f"{place}.judge.api_key_env`: the environment variable REFEREE_KEY is not set",
    ]
    suite.touch()
    monkeypatch.setenv("REFEREE_KEY", "secret")
    assert preflight(config) == []


def test_an_audit_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def found(file: Path, **audit: Any) -> list[str]:
        settings = {"model": {"id": "org/base"}, "engine": _remote(), "logging": {"audit": {"file": str(file)} | audit}}
        return preflight(parse_config(settings))

    assert found(tmp_path / "new" / "audit.jsonl") == []
    assert found(tmp_path / "file") == []
    for file in (tmp_path, tmp_path / "file" / "audit.jsonl"):
        assert found(file) == [f"`logging.audit.file`: {file} cannot be written"]
        assert found(file, enabled=False) == []
