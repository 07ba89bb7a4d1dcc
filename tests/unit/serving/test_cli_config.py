"""``loraplex config`` and ``loraplex keys``."""

import hashlib
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serving.cli import config, keys
from serving.config import load_config, parse_config

_REMOTE = "model: {id: org/base}\nengine: {kind: openai, url: 'http://127.0.0.1:9/v1'}\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_check_prints_what_a_valid_file_comes_to(tmp_path: Path) -> None:
    path = _file(tmp_path, _REMOTE + "tasks: {t: {}}\nstate: {url: 'sqlite:///s.db'}\n")
    result = CliRunner().invoke(config.app, ["check", str(path)])

    assert result.exit_code == 0
    assert "is valid" in result.stdout
    assert "openai, http://127.0.0.1:9/v1" in result.stdout
    assert "t (base model)" in result.stdout


def test_check_leaves_the_environment_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_LOGGING_LEVEL", raising=False)
    before = dict(os.environ)
    assert CliRunner().invoke(config.app, ["check", str(_file(tmp_path, _REMOTE))]).exit_code == 0
    assert dict(os.environ) == before


def test_check_prints_one_line_for_each_problem(tmp_path: Path) -> None:
    path = _file(tmp_path, _REMOTE + "replcas: 2\nserver: {prot: 1}\n")
    result = CliRunner().invoke(config.app, ["check", str(path)])

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{path} is not valid:",
        "  - line 3: `replcas`: unknown key; did you mean `replicas`?",
        "  - line 4: `server.prot`: unknown key; did you mean `port`?",
    ]


def test_check_says_what_the_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMOTE_KEY", raising=False)
    path = _file(
        tmp_path,
        "model: {id: org/base}\n"
        "engine: {kind: openai, url: 'http://127.0.0.1:9/v1', adapters: vllm, api_key_env: REMOTE_KEY}\n"
        f"adapters: {{preload: [{{name: a, source: {tmp_path}/none}}, {{name: b, source: {tmp_path}}}]}}\n"
        "state: {url: 'postgresql+pg8000://h/d'}\n",
    )
    result = CliRunner().invoke(config.app, ["check", str(path)])

    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        "  - `engine.api_key_env`: the environment variable REMOTE_KEY is not set",
        "  - `state.url`: the driver of `postgresql+pg8000` is not installed",
        f"  - `adapters.preload[0].source`: there is no folder {tmp_path}/none",
        f"  - `adapters.preload[1].source`: {tmp_path} holds no adapter_config.json",
    ]


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_CONFIG", str(_file(tmp_path, _REMOTE)))

    assert CliRunner().invoke(config.app, ["check"]).exit_code == 0


def test_show_prints_a_file_that_means_the_same(tmp_path: Path) -> None:
    path = _file(tmp_path, _REMOTE + "tasks: {t: {output: {choice: ['yes', 'no']}}}\n")
    meant = load_config(path)
    shown = CliRunner().invoke(config.app, ["show", str(path)])

    assert load_config(_file(tmp_path, shown.stdout)) == meant


def test_a_new_key_comes_with_the_configuration_that_accepts_it() -> None:
    result = CliRunner().invoke(keys.app, ["new", "helpdesk", "--models", "triage, triage@*", "--admin"])

    assert result.exit_code == 0
    (key,) = (line.strip() for line in result.stdout.splitlines() if line.startswith("  lpx-"))
    pasted = yaml.safe_load(result.stdout[result.stdout.index("api_keys:") :])
    (entry,) = parse_config({"model": {"id": "org/base"}} | pasted).api_keys
    assert entry.hash == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert (entry.name, entry.models, entry.admin) == ("helpdesk", ("triage", "triage@*"), True)


def test_two_keys_differ() -> None:
    assert keys.make_key() != keys.make_key()


@pytest.mark.parametrize("arguments", [["new", "two words"], ["new", "a", "--models", "x,,y"], ["new"]])
def test_a_key_without_a_proper_name_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(keys.app, arguments).exit_code == 2
