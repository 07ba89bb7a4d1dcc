"""What command lines call: a recipe file in, an exit status out."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.unit.training.tuning.conftest import ALLOW, SETTINGS, chat_rows, write_rows
from training.tuning.run import run_file

pytestmark = pytest.mark.filterwarnings(
    # Of transformers' own making, at every training.
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)


def _recipe(folder: Path, **changes: object) -> Path:
    write_rows(folder / "train.jsonl", chat_rows())
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(SETTINGS | changes), encoding="utf-8")
    return path


def test_after_a_signal_the_same_command_goes_on(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminate(line: str) -> None:
        if line == "checkpoint after step 3":
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    recipe, out = _recipe(tmp_path), tmp_path / "out"
    assert run_file(recipe, base, out, terminate, allow=ALLOW) == 75
    assert signal.getsignal(signal.SIGTERM) is before
    lines: list[str] = []
    assert run_file(recipe, base, out, lines.append, allow=ALLOW) == 0
    assert "going on from the checkpoint after step 4" in lines
    assert (out / "adapter_model.safetensors").is_file()
    assert "wrote" in capsys.readouterr().out


def test_a_mistake_is_told_in_a_line(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_file(_recipe(tmp_path, rank=0), base, tmp_path / "out", lambda _: None) == 2
    assert "`rank`" in capsys.readouterr().err
