"""Answers as they come, on disk before anything is built on them: what a killed run goes on from."""

import asyncio
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.errors import RunRefused
from training.evaluation.run_file import answer_from, answer_json
from training.evaluation.types import Answer, Json

Key = tuple[str, int]
"""Case and repeat."""


def journal_path(out: Path) -> Path:
    """Where the journal of the run in ``out`` lies."""
    return out.with_name(out.name + ".journal.jsonl")


class Journal:
    """Holds the answers and verdicts of one run, one JSON object a line, each flushed to disk when it is added.

    The first line says what run it is; a run that differs from it is refused. A line that a kill cut off is dropped.
    Use it as a context manager. Calls may overlap in one event loop.

    Args:
        path: the file; made where it is not there.
        head: what must be the same for answers to belong together.

    Raises:
        RunRefused: the file belongs to another run, or another process has it open.
    """

    def __init__(self, path: Path, head: Json) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self.answers: dict[Key, Answer] = {}
        """Those that succeeded, as of opening."""
        self.verdicts: dict[Key, tuple[Json, ...]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(head)
        except BlockingIOError:
            self._file.close()
            raise RunRefused(f"another process writes {path}") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def add_answer(self, key: Key, answer: Answer) -> None:
        """Keep an answer. Returns once it is on disk."""
        await self._append({"case_id": key[0], "repeat": key[1], "answer": answer_json(answer)})

    async def add_verdicts(self, key: Key, verdicts: tuple[Json, ...]) -> None:
        """Keep what the judges said of an answer. Returns once it is on disk."""
        await self._append({"case_id": key[0], "repeat": key[1], "verdicts": list(verdicts)})

    def discard(self) -> None:
        """Remove the file: the run is complete, and written elsewhere."""
        self._path.unlink(missing_ok=True)

    async def _append(self, value: Json) -> None:
        async with self._lock:
            # Cancelled while it writes, it must still end before the next line, or the file's end.
            writing = asyncio.ensure_future(asyncio.to_thread(self._write, value))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing
                raise

    def _write(self, value: Json) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, head: Json) -> None:
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._write(head)
            return
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                if number == 1:
                    self._compare(value, head)
                else:
                    self._take(value)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise RunRefused(
                    f"{self._path}:{number}: damaged: {error!r}; remove the file to start again"
                ) from error

    def _compare(self, found: Any, head: Json) -> None:
        differing = [name for name in head if found.get(name) != head[name]]
        if differing:
            raise RunRefused(
                f"{self._path} holds answers of another run ({', '.join(differing)} differ); "
                "remove it, or give another --out"
            )

    def _take(self, value: Json) -> None:
        key = (value["case_id"], value["repeat"])
        if "verdicts" in value:
            self.verdicts[key] = tuple(value["verdicts"])
            return
        answer = answer_from(value["answer"])
        if answer.error is None:
            self.answers[key] = answer
            # Verdicts that stand before an answer are on an earlier one.
            self.verdicts.pop(key, None)
