"""Trainers are processes that step back, and end with who started them."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.jobs.launcher import FolderBusy, ProcessLauncher, ProcessTrainer

_PROGRAM = """
import json, os, signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
facts = {"nice": os.nice(0), "session": os.getsid(0) == os.getpid(), "x": os.environ.get("X"), "argv": sys.argv[1:]}
with open(os.path.join(sys.argv[1], "facts"), "w") as file:
    json.dump(facts, file)
os.rename(os.path.join(sys.argv[1], "facts"), os.path.join(sys.argv[1], "ready"))
threading.Thread(target=lambda: (os.read(0, 1), stop.set()), daemon=True).start()
stop.wait()
sys.exit(75)
"""


@contextmanager
def launched(folder: Path, launcher: ProcessLauncher) -> Iterator[ProcessTrainer]:
    """A trainer that is ready."""
    trainer = launcher.launch(folder)
    try:
        until(lambda: (folder / "ready").exists())
        yield trainer
    finally:
        trainer.kill()
        until(lambda: trainer.poll() is not None)


def until(condition: object) -> None:
    """Wait for a state of another process."""
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def launcher_of(program: str = _PROGRAM) -> ProcessLauncher:
    """Launches ``program``."""
    return ProcessLauncher((sys.executable, "-c", program), environment={"X": "1"})


def test_a_trainer_steps_back_in_a_session_of_its_own(tmp_path: Path) -> None:
    with launched(tmp_path, launcher_of()) as trainer:
        facts = json.loads((tmp_path / "ready").read_text())
        group = Path(f"/proc/{trainer._process.pid}/autogroup")
        told = group.read_text().split() if group.exists() else []
        assert not told or told[-1] == "19"

    assert facts == {"nice": 19, "session": True, "x": "1", "argv": [str(tmp_path), "--lifeline"]}


def test_a_trainer_that_is_told_to_stop_says_that_it_can_go_on(tmp_path: Path) -> None:
    with launched(tmp_path, launcher_of()) as trainer:
        trainer.stop()
        until(lambda: trainer.poll() is not None)
        assert trainer.poll() == 75


def test_a_trainer_ends_with_its_parent(tmp_path: Path) -> None:
    with launched(tmp_path, launcher_of()) as trainer:
        stdin = trainer._process.stdin
        assert stdin is not None
        # What the kernel does for a parent that was killed.
        stdin.close()
        until(lambda: trainer._process.poll() is not None)
        assert trainer.poll() == 75


def test_there_are_never_two_trainers_in_a_folder(tmp_path: Path) -> None:
    with launched(tmp_path, launcher_of()) as first:
        # Another control plane knows nothing of the first one's.
        other = launcher_of()
        with pytest.raises(FolderBusy):
            other.launch(tmp_path)
        # It has the orphan end, and then takes the folder.
        until(lambda: first.poll() is not None)
        assert first.poll() == 75
        (tmp_path / "ready").unlink()
        with launched(tmp_path, other) as second:
            assert second.poll() is None


def test_an_orphan_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = _PROGRAM.replace("lambda *_: stop.set()", "signal.SIG_IGN", 1)
    with launched(tmp_path, launcher_of(deaf)) as first:
        other = launcher_of()
        monkeypatch.setattr("serving.jobs.launcher._ORPHAN_GRACE_S", 0.0)
        with pytest.raises(FolderBusy):
            other.launch(tmp_path)
        assert first.poll() is None
        with pytest.raises(FolderBusy):
            other.launch(tmp_path)
        until(lambda: first.poll() is not None)
        assert first.poll() == -signal.SIGKILL


@pytest.mark.parametrize("written", ["", "x y z", "1 2", "{here} 1 elsewhere", "{here} 1 here"])
def test_a_lock_of_nobody_that_is_known_ends_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    with launched(tmp_path, launcher_of()) as first:
        (tmp_path / "lock").write_text(written.format(here=os.getpid()))
        with pytest.raises(FolderBusy):
            launcher_of().launch(tmp_path)
        assert first.poll() is None


def test_a_program_that_is_not_there_fails_as_the_shell_says(tmp_path: Path) -> None:
    trainer = ProcessLauncher(("/nowhere/python",)).launch(tmp_path)
    until(lambda: trainer.poll() is not None)

    assert trainer.poll() == 127
    assert "No such file" in (tmp_path / "worker.log").read_text()
