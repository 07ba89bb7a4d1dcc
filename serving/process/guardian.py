"""The guardian: a tiny process that outlives the main one just long enough to clean up after it.

It holds the reading end of a pipe whose only writer is the main process, so it learns of the main process's death
however that dies. Started with :func:`command` in a bare interpreter; only the standard library is imported.
"""

import os
import signal
import sys
from pathlib import Path

from serving.process import record as records

_GRACE_S = 1.0
_DISMISSED = b"d"


def command(pipe: int, path: Path) -> list[str]:
    """How to start a guardian that reads ``pipe`` and cleans up by the record in ``path``."""
    root = Path(__file__).resolve().parents[2]
    program = f"import sys; sys.path.insert(0, {str(root)!r}); from serving.process.guardian import main; main()"
    return [sys.executable, "-I", "-S", "-c", program, str(pipe), str(path)]


def dismiss(pipe: int) -> None:
    """Tell the guardian behind ``pipe`` that there is nothing left to guard."""
    os.write(pipe, _DISMISSED)


def main() -> None:
    """Wait for the main process to end, then clean up unless it was dismissed."""
    # A terminal that closes or a Ctrl-C is the main process's to handle; the guardian only follows it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe, path = int(sys.argv[1]), Path(sys.argv[2])
    if os.read(pipe, 1) == _DISMISSED:
        return
    record = records.read(path)
    if record is not None:
        records.clean_up(record, path, grace_s=_GRACE_S)
