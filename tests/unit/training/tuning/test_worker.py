"""The worker: a real process that is told to stop, killed and started again, and ends with the same adapter."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.tuning.conftest import ALLOW, SETTINGS, chat_rows, preference_rows, turns, write_rows
from training.tuning.events import Event
from training.tuning.stop import Stop
from training.tuning.worker import EventFile, work

pytestmark = pytest.mark.filterwarnings(
    # Of transformers' own making, at every training.
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)

# Long enough that it cannot end before a signal arrives.
STEPS = {"epochs": 8, "checkpoint_every": 2, "heldout": "heldout.jsonl", "evaluate_every": 10}


def _job(folder: Path, checkpoint: Path, /, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_rows(folder / "train.jsonl", chat_rows())
    write_rows(folder / "heldout.jsonl", chat_rows()[:3])
    job = {"method": "sft", "recipe": SETTINGS | STEPS, "base": str(checkpoint), "allow": ALLOW} | changes
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return folder


@contextmanager
def _worker(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "training.tuning.worker", str(folder), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"it ended without `{start}`, status {process.wait(60)}")


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def test_stopped_cut_off_and_killed_it_ends_with_the_bytes_of_an_undisturbed_job(tmp_path: Path, base: Path) -> None:
    whole = _job(tmp_path / "whole", base)
    assert work(whole, Stop()) == 0

    job = _job(tmp_path / "job", base)
    with _worker(job) as process:
        _read_until(process, "checkpoint after step 2")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75
    stopped_at = max(int(path.name.removeprefix("step-")) for path in (job / "checkpoints").glob("step-*"))
    assert not (job / "adapter").exists()
    with _worker(job, "--lifeline") as process:
        _read_until(process, f"going on from the checkpoint after step {stopped_at}")
        _read_until(process, "checkpoint after step")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 75
    with _worker(job) as process:
        _read_until(process, "checkpoint after step")
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert work(job, Stop()) == 0

    weights = "adapter/adapter_model.safetensors"
    assert (job / weights).read_bytes() == (whole / weights).read_bytes()
    result, undisturbed = (json.loads((folder / "result.json").read_text()) for folder in (job, whole))
    assert result == undisturbed
    assert (result["steps"], result["method"]) == (40, "sft")
    assert {path.name for path in (job / "adapter").iterdir()} >= {"recipe.yaml", "metrics.json"}


def test_a_job_that_was_done_is_not_done_again(tmp_path: Path, base: Path) -> None:
    job = _job(tmp_path / "job", base, recipe=SETTINGS | {"epochs": 1})
    assert work(job, Stop()) == 0
    told = len(_events(job))
    assert work(job, Stop()) == 0
    assert len(_events(job)) == told


def test_what_a_job_tells_can_be_followed(tmp_path: Path, base: Path) -> None:
    job = _job(tmp_path / "job", base, recipe=SETTINGS | STEPS | {"epochs": 2, "evaluate_every": 5})
    assert work(job, Stop()) == 0
    events = _events(job)
    assert [event["data"]["phase"] for event in events if event["type"] == "phase"] == [
        "validating",
        "training",
        "writing",
    ]
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert all({"step", "total_steps"} <= data.keys() for data in metrics)
    assert {"train_loss", "train_mean_token_accuracy", "tokens_per_second", "seconds_left"} <= metrics[-2].keys()
    assert [data["step"] for data in metrics if "valid_loss" in data] == [0, 5, 10]
    checkpoints = [event["data"] for event in events if event["type"] == "checkpoint"]
    assert [data["step"] for data in checkpoints] == [2, 4, 5, 6, 8, 10]
    assert (job / checkpoints[-1]["path"] / "adapter_model.safetensors").is_file()
    assert checkpoints[-1]["metrics"].keys() == {"train_loss", "valid_loss"}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_preferences_are_learnt_by_the_same_worker(tmp_path: Path, base: Path) -> None:
    job = _job(tmp_path / "job", base, method="dpo", recipe=SETTINGS | {"epochs": 1, "beta": 0.2})
    write_rows(job / "train.jsonl", preference_rows())
    assert work(job, Stop()) == 0
    assert json.loads((job / "result.json").read_text())["method"] == "dpo"


@pytest.mark.parametrize(("method", "rows"), [("sft", chat_rows()), ("dpo", preference_rows())])
def test_two_processes_share_a_training(tmp_path: Path, base: Path, method: str, rows: list[dict[str, Any]]) -> None:
    recipe = SETTINGS | {"epochs": 1, "checkpoint_every": 1, "heldout": "heldout.jsonl"}
    job = _job(tmp_path / "job", base, method=method, recipe=recipe)
    write_rows(job / "train.jsonl", rows)
    write_rows(job / "heldout.jsonl", rows[:4])
    with ExitStack() as stack:
        port = _free_port()
        both = [stack.enter_context(_worker(job, environment=_rank(rank, port))) for rank in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert json.loads((job / "result.json").read_text())["steps"] == 5
    newest = {path.name for path in (job / "checkpoints" / "step-5").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= newest


def _rank(rank: int, port: int) -> dict[str, str]:
    """What accelerate's launcher says to one of two processes."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    text = {name: str(value) for name, value in place.items()}
    return text | {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_bad_rows_end_a_job_with_their_line(tmp_path: Path, base: Path) -> None:
    job = _job(tmp_path / "job", base)
    rows = chat_rows()
    rows[4] = {"messages": turns("What is it?", "It is.")[:1]}
    write_rows(job / "train.jsonl", rows)
    assert work(job, Stop()) == 2
    error = json.loads((job / "error.json").read_text())
    assert error.keys() == {"code", "message", "param", "line"}
    assert error["line"] == 5
    assert not (job / "result.json").exists()


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"recipe": SETTINGS | {"rank": 0}}, "recipe_invalid", "rank"),
        ({"recipe": SETTINGS | {"use_dora": True}}, "recipe_invalid", None),
        ({"recipe": "sft"}, "recipe_invalid", "recipe"),
        ({"method": "ppo"}, "recipe_invalid", "method"),
        ({"max_rank": 1}, "recipe_invalid", None),
        ({"extra": 1}, "job_invalid", None),
        ({"base": "/nowhere"}, "base_model_invalid", None),
    ],
)
def test_a_mistake_in_the_job_ends_it_with_the_field(
    tmp_path: Path, base: Path, changes: dict[str, Any], code: str, param: str | None
) -> None:
    job = _job(tmp_path / "job", base, **changes)
    assert work(job, Stop()) == 2
    error = json.loads((job / "error.json").read_text())
    assert (error["code"], error["param"]) == (code, param)


def test_a_real_process_says_a_mistake_by_its_status(tmp_path: Path) -> None:
    with _worker(tmp_path) as process:
        assert process.wait(60) == 2
    assert json.loads((tmp_path / "error.json").read_text())["code"] == "job_invalid"


def test_a_stop_before_the_first_step_leaves_nothing_behind(tmp_path: Path, base: Path) -> None:
    job, stop = _job(tmp_path / "job", base), Stop()
    stop.ask()
    assert work(job, stop) == 75
    assert not (job / "adapter").exists()
    assert not (job / "error.json").exists()


def test_half_a_line_of_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"at": 1}\n{"at": 2, "mess', encoding="utf-8")
    EventFile(path)(Event("message", "again"))
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[2])["message"] == "again"
