"""The record of an instance, and cleaning up by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.process import family, guardian, record
from serving.process.family import Identity
from serving.process.record import Record

SLEEP = "print('up', flush=True); import time; time.sleep(600)"


def _record(folder: Path, owner: Identity) -> Record:
    scratch = folder / "scratch"
    (scratch / "ray" / "session_2026" / "logs").mkdir(parents=True)
    (scratch / "ray" / "session_2026" / "logs" / "raylet.out").write_text("said")
    (folder / "logs").mkdir()
    return Record("unit", owner, "127.0.0.1:1", scratch, folder / "logs")


def _start(marker: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEP],
        env={**os.environ, family.MARKER: marker},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_record_survives_writing_and_reading(tmp_path: Path) -> None:
    made = _record(tmp_path, family.own_identity()).with_session(Identity(5, 6)).with_guardian(Identity(7, 8))
    path = record.write(made, tmp_path / "run")
    assert record.read(path) == made
    assert list(record.read_all(tmp_path / "run")) == [(path, made)]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1}'])
def test_a_spoiled_record_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.instance.json"
    path.write_text(text)
    assert record.read(path) is None


def test_cleaning_up_ends_processes_keeps_logs_and_removes_the_rest(tmp_path: Path) -> None:
    made = _record(tmp_path, family.own_identity())
    path = record.write(made, tmp_path / "run")
    with _start(made.marker) as process:
        assert record.clean_up(made, path, grace_s=1) == set()
        assert process.wait(5) != 0
    assert not made.scratch.exists()
    assert not path.exists()
    assert (tmp_path / "logs" / "ray" / "raylet.out").read_text() == "said"


def test_the_next_start_sweeps_what_a_dead_instance_left(tmp_path: Path) -> None:
    with _start("none") as owner:
        identity = family.identity_of(owner.pid)
        assert identity is not None
        made = _record(tmp_path, identity)
        record.write(made, tmp_path / "run")
        with _start(made.marker) as left:
            record.sweep_dead(tmp_path / "run")
            assert left.poll() is None
            owner.kill()
            owner.wait()
            assert record.sweep_dead(tmp_path / "run") >= 1
            assert left.wait(5) != 0
    assert list((tmp_path / "run").iterdir()) == []


def test_a_guardian_cleans_up_once_nobody_holds_the_pipe(tmp_path: Path) -> None:
    made = _record(tmp_path, family.own_identity())
    path = record.write(made, tmp_path / "run")
    reading, writing = os.pipe()
    watcher = subprocess.Popen(guardian.command(reading, path), pass_fds=(reading,))
    os.close(reading)
    with _start(made.marker) as process:
        os.close(writing)
        assert watcher.wait(20) == 0
        assert process.wait(5) != 0
    assert not path.exists()


def test_a_dismissed_guardian_touches_nothing(tmp_path: Path) -> None:
    made = _record(tmp_path, family.own_identity())
    path = record.write(made, tmp_path / "run")
    reading, writing = os.pipe()
    watcher = subprocess.Popen(guardian.command(reading, path), pass_fds=(reading,))
    os.close(reading)
    guardian.dismiss(writing)
    assert watcher.wait(20) == 0
    os.close(writing)
    assert path.exists()
