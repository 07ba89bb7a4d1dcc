"""What can wait steps back, whether processes are scheduled by session or not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.process.priority import set_group, step_back

needs_autogroup = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel groups no processes by session"
)


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session of its own."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process


def group_of(pid: int) -> str:
    """What the scheduler says of the session's group; empty for those that never left the one of the start-up."""
    return Path(f"/proc/{pid}/autogroup").read_text(encoding="ascii").strip()


@needs_autogroup
def test_the_session_of_a_process_steps_back_as_a_whole(leader: "subprocess.Popen[bytes]") -> None:
    if not group_of(leader.pid):
        pytest.skip("this kernel makes no group for a new session")
    before = group_of(os.getpid())

    step_back(7, leader.pid)

    assert group_of(leader.pid).endswith(" nice 7")
    assert group_of(os.getpid()) == before


@needs_autogroup
def test_who_leads_no_session_leaves_the_group_alone() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as follower:
        before = group_of(follower.pid)

        step_back(7, follower.pid)

        assert group_of(follower.pid) == before


def test_a_process_steps_back_by_itself() -> None:
    program = "import os; from serving.process.priority import step_back; step_back(7); print(os.nice(0))"

    told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)

    assert int(told.stdout) == min(os.nice(0) + 7, 19)


def test_a_process_that_has_ended_is_an_error_of_its_own(leader: "subprocess.Popen[bytes]") -> None:
    leader.kill()
    leader.wait()

    with pytest.raises(ProcessLookupError):
        step_back(7, leader.pid)


class Refusing(type(Path())):  # type: ignore[misc]
    """A file that answers as the kernel does to a second change within 100 ms."""

    refusals = 2

    def write_text(self, *args: object, **kwargs: object) -> int:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError
        return int(super().write_text(*args, **kwargs))


def test_a_change_that_is_refused_for_now_is_repeated(tmp_path: Path) -> None:
    file = Refusing(tmp_path / "autogroup")

    set_group(file, 7)

    assert file.read_text() == "7"
