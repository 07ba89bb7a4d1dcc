"""How processes that can wait leave the processor to those that answer."""

import os
import time
from contextlib import suppress
from pathlib import Path

_ATTEMPTS = 5
_PAUSE_S = 0.11


def step_back(niceness: int, pid: int | None = None) -> None:
    """Have a process, and all that it starts, yield to others.

    Where Linux groups processes by session (sched(7), "The autogroup feature"), a nice value counts among those of one
    session only, and what decides between sessions is the group's own. So both are set: the group's where ``pid`` leads
    a session, which nobody else of ours is in. Kernels without the feature have no such file. To those without
    privileges the kernel grants one such change each 100 ms on the whole machine, so a refused one is repeated a few
    times (blocking for half a second at most).

    Args:
        niceness: 0 to 19.
        pid: the leader of a session; None is the calling process, whose own nice value is raised too.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if pid is None:
        os.nice(niceness)
        pid = os.getpid()
    if os.getsid(pid) == pid:
        with suppress(OSError):
            set_group(Path(f"/proc/{pid}/autogroup"), niceness)


def set_group(file: Path, niceness: int) -> None:
    """Write a group's nice value, again where the kernel refuses for now. Raises OSError where it refuses for good."""
    for _ in range(_ATTEMPTS):
        try:
            file.write_text(str(niceness), encoding="ascii")
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
