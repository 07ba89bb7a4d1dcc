"""Trainers for which Ray reserves a place."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ray

from serving.jobs.folder import JobFolder
from serving.jobs.launcher import ProcessLauncher, Trainer
from serving.jobs.ray_launcher import RayLauncher
from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.integration.instance import ROOT
from tests.jobs_live import STANDIN, planned

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def launcher() -> Iterator[RayLauncher]:
    """A Ray of our own with one GPU, by its word."""
    ray.init(
        address="local",
        num_cpus=1,
        num_gpus=1,
        include_dashboard=False,
        object_store_memory=100 * 1024 * 1024,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield RayLauncher(ProcessLauncher(STANDIN), cpus=0, gpus=1)
    ray.shutdown()


def folder_of(root: Path, name: str, **plan: object) -> JobFolder:
    """A job's folder."""
    base = make_base(root / BASE_NAME)
    make_adapter(root / "made", base)
    folder = JobFolder(root / "jobs" / name)
    recipe = {"train": "train.jsonl", "seed": 1}
    orders = {"method": "sft", "recipe": recipe, "base": str(base), "allow": []}
    folder.write(orders, planned(**plan), None, installation="us")
    return folder


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a state of other processes."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ended(trainer: Trainer) -> int:
    """The exit status, once there is one."""
    until(lambda: trainer.poll() is not None, "the trainer's end")
    status = trainer.poll()
    assert status is not None
    return status


def test_a_trainer_waits_until_a_gpu_is_free(tmp_path: Path, launcher: RayLauncher) -> None:
    first = folder_of(tmp_path, "first", hold_at=1)
    second = folder_of(tmp_path, "second")
    holding = launcher.launch(first.path)
    until(first.events.exists, "the first trainer's start")
    waiting = launcher.launch(second.path)
    assert waiting.poll() is None
    assert not second.events.exists()

    (tmp_path / "jobs" / "release").touch()

    assert (ended(holding), ended(waiting)) == (0, 0)
    assert second.result() == {"trained_tokens": 200}


def test_a_trainer_is_stopped_and_killed_wherever_it_is(tmp_path: Path, launcher: RayLauncher) -> None:
    first = folder_of(tmp_path, "first", hold_at=1)
    holding = launcher.launch(first.path)
    until(first.events.exists, "the first trainer's start")
    waiting = launcher.launch(folder_of(tmp_path, "second").path)

    waiting.stop()
    holding.stop()
    assert (ended(waiting), ended(holding)) == (75, 75)
    again = launcher.launch(first.path)
    begun = first.events.stat().st_size
    until(lambda: first.events.stat().st_size > begun, "the trainer's next start")
    again.kill()
    assert ended(again) == -9


def test_an_actor_that_dies_takes_its_trainer_with_it(tmp_path: Path, launcher: RayLauncher) -> None:
    first = folder_of(tmp_path, "first", hold_at=1)
    holding = launcher.launch(first.path)
    until(first.events.exists, "the trainer's start")

    trainer = int((first.path / "lock").read_text().split()[0])

    ray.kill(holding._host)

    assert ended(holding) == -9
    until(lambda: not psutil.pid_exists(trainer), "the end of its trainer")
    (tmp_path / "jobs" / "release").touch()
    assert ended(launcher.launch(first.path)) == 0


def test_a_trainer_that_cannot_be_started_has_ended(tmp_path: Path, launcher: RayLauncher) -> None:
    trainer = launcher.launch(tmp_path / "gone")

    assert ended(trainer) > 0
    assert ended(launcher.launch(folder_of(tmp_path, "next").path)) == 0, "the place is free again"
