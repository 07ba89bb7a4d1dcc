"""Finding and ending the processes of an instance."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from serving.process import family
from serving.process.family import Identity

Spawn = Callable[..., subprocess.Popen[bytes]]

SLEEP = "print('up', flush=True); import time; time.sleep(600)"
RENAMED = f"import setproctitle; setproctitle.setproctitle('VLLM::EngineCore'); {SLEEP}"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env={{}}); {SLEEP}"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *, marker: str | None = None, session: bool = False) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != family.MARKER}
        if marker is not None:
            environment[family.MARKER] = marker
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, start_new_session=session
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _marker(name: str = "unit") -> str:
    return family.make_marker(name, family.own_identity())


def _pids(found: set[Identity]) -> set[int]:
    return {identity.pid for identity in found}


def test_a_process_is_itself_while_it_runs_and_nobody_afterwards(spawn: Spawn) -> None:
    process = spawn(SLEEP)
    identity = family.identity_of(process.pid)
    assert identity is not None
    assert identity.is_alive
    assert not Identity(identity.pid, identity.start + 1).is_alive
    process.kill()
    process.wait()
    assert not identity.is_alive


def test_a_zombie_is_not_alive(spawn: Spawn) -> None:
    process = spawn(SLEEP)
    identity = family.identity_of(process.pid)
    assert identity is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.is_alive


def test_the_marker_names_its_owner() -> None:
    own = family.own_identity()
    assert family.marker_owner(family.make_marker("a:b", own)) == own
    assert family.marker_owner("nonsense") is None
    assert family.marker_owner("a:b:c") is None


def test_members_carry_the_marker_of_their_instance(spawn: Spawn) -> None:
    mine = spawn(SLEEP, marker=_marker())
    spawn(SLEEP, marker=_marker("another"))
    spawn(SLEEP)
    assert _pids(family.members(_marker())) == {mine.pid}


def test_a_process_that_overwrote_its_environment_is_found_by_its_session(spawn: Spawn) -> None:
    process = spawn(RENAMED, marker=_marker(), session=True)
    leader = family.identity_of(process.pid)
    assert leader is not None
    assert family.members(_marker()) == set()
    assert family.members(_marker(), [leader]) == {leader}


def test_a_session_number_that_was_given_to_a_stranger_is_not_ours(spawn: Spawn) -> None:
    stranger = spawn(SLEEP, session=True)
    identity = family.identity_of(stranger.pid)
    assert identity is not None
    assert family.members(_marker(), [Identity(identity.pid, identity.start - 1)]) == set()


def test_descendants_of_members_are_members(spawn: Spawn) -> None:
    parent = spawn(PARENT, marker=_marker())
    found = family.members(_marker())
    assert len(found) == 2
    assert parent.pid in _pids(found)
    family.end_all(lambda: family.members(_marker()) | {one for one in found if one.is_alive}, grace_s=0)
    assert not any(one.is_alive for one in found)


def test_spared_processes_and_the_caller_are_no_members(spawn: Spawn) -> None:
    process = spawn(SLEEP, marker=_marker())
    found = _pids(family.members(_marker(), [family.own_identity()], spare=[process.pid]))
    assert not {process.pid, os.getpid()} & found


def test_what_ignores_a_request_to_end_is_killed(spawn: Spawn) -> None:
    process = spawn(STUBBORN, marker=_marker())
    assert family.end_all(lambda: family.members(_marker()), grace_s=0.1) == set()
    assert process.wait() == -signal.SIGKILL


def test_what_ends_when_asked_is_not_killed(spawn: Spawn) -> None:
    process = spawn(SLEEP, marker=_marker())
    assert family.end_all(lambda: family.members(_marker()), grace_s=5) == set()
    assert process.wait() == -signal.SIGTERM


def test_processes_whose_owner_is_dead_are_orphans_with_their_whole_session(spawn: Spawn) -> None:
    owner = spawn(SLEEP)
    identity = family.identity_of(owner.pid)
    assert identity is not None
    marker = family.make_marker("gone", identity)
    orphan = spawn(SLEEP, marker=marker, session=True)
    assert orphan.pid not in _pids(family.orphans())
    owner.kill()
    owner.wait()
    assert _pids(family.orphans()) >= {orphan.pid}
    assert os.getpid() not in _pids(family.orphans())
