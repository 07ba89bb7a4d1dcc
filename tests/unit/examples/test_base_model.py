"""The demo's base model is built once, whole or not at all."""

from pathlib import Path

import pytest

from examples import base_model


def test_a_checkpoint_that_is_there_is_left_alone(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / name).write_text(name)
    assert base_model.build(tmp_path) == tmp_path
    assert (tmp_path / "config.json").read_text() == "config.json"


def test_a_file_that_is_not_the_known_one_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / base_model.WEIGHTS
    weights.write_bytes(b"something else")
    monkeypatch.setattr(base_model, "_installed", lambda: weights)
    with pytest.raises(base_model.BaseModelUnavailable, match="is not the"):
        base_model.build(tmp_path / "models" / "checkpoint")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".checkpoint.lock"]
