"""Every answer of a grid on disk as it comes, so that a diagnosis that was killed goes on where it was.

``answers.jsonl``: the first line says what is asked, each other line is a search or an answer with its scores. An
answer that failed or that a judge gave no verdict on is not kept, and is asked for again. A last line that a kill tore
apart is dropped.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Self

from training.diagnosis.types import Cell, Retrieval
from training.errors import DiagnosisInvalid
from training.evaluation.types import Answer, CaseResult

FILE = "answers.jsonl"

Key = tuple[str, Cell, int]
"""Case id, cell, repeat."""


class Journal:
    """The answers so far, in memory and, with a folder, on disk. One process at a time."""

    def __init__(self, folder: Path | None, asked: Mapping[str, Any]) -> None:
        """Go on in ``folder``, or begin there; None: keep in memory alone.

        Args:
            asked: what decides the answers: the suite's digest, models, parameters, vector store.

        Raises:
            DiagnosisInvalid: the folder holds answers to something else, another process writes there, or it is no
                folder to write in.
        """
        self.searches: dict[str, Retrieval] = {}
        self.answers: dict[Key, CaseResult] = {}
        self._file: BinaryIO | None = None
        if folder is None:
            return
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise DiagnosisInvalid(f"cannot keep answers in {folder}: {error}") from error
        try:
            self._go_on(self._file, asked, path)
        except OSError as error:
            self._file.close()
            raise DiagnosisInvalid(f"cannot keep answers in {folder}: {error}") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def found(self, case_id: str, retrieval: Retrieval) -> None:
        """Keep what was found for a case."""
        self.searches[case_id] = retrieval
        self._write({"searched": case_id, "passages": retrieval.passages, "seconds": retrieval.seconds})

    def answered(self, cell: Cell, result: CaseResult) -> None:
        """Keep an answer, and on disk only one that no further question could complete."""
        self.answers[result.case_id, cell, result.repeat] = result
        if result.answer.error is None and _is_judged(result):
            self._write({"cell": str(cell), "result": asdict(result)})

    def _go_on(self, file: BinaryIO, asked: Mapping[str, Any], path: Path) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DiagnosisInvalid(f"another diagnosis writes {path}; wait for it, or give another folder") from None
        file.seek(0)
        whole = self._read(file.read(), asked, path)
        file.truncate(whole)
        if not whole:
            self._write({"asked": asked})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()

    def _read(self, data: bytes, asked: Mapping[str, Any], path: Path) -> int:
        """Take in what is there; the length of its whole lines, in bytes."""
        whole = 0
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(json.loads(line), asked, path)
            except (ValueError, KeyError, TypeError) as error:
                raise DiagnosisInvalid(f"{path}:{number} is no line of a diagnosis: {error!r}") from error
            whole += len(line)
        return whole

    def _take(self, line: Any, asked: Mapping[str, Any], path: Path) -> None:
        if "asked" in line:
            before = line["asked"]
            changed = sorted(name for name in before.keys() | asked.keys() if before.get(name) != asked.get(name))
            if changed:
                raise DiagnosisInvalid(
                    f"{path} holds answers to something else ({', '.join(changed)} changed): give another folder"
                )
        elif "searched" in line:
            self.searches[line["searched"]] = Retrieval(tuple(line["passages"]), line["seconds"])
        else:
            result = _result(line["result"])
            if not _is_judged(result):
                return
            self.answers[result.case_id, Cell.parse(line["cell"]), result.repeat] = result


def _is_judged(result: CaseResult) -> bool:
    return all(verdict["value"] is not None for verdict in result.verdicts)


def _result(data: dict[str, Any]) -> CaseResult:
    answer = data["answer"]
    lists = {name: tuple(answer[name]) for name in ("tool_calls", "citations")}
    return CaseResult(**{**data, "answer": Answer(**{**answer, **lists}), "verdicts": tuple(data["verdicts"])})
