"""Examinations in processes of their own, and the reports that they end in."""

import asyncio
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.config import parse_config
from serving.errors import ExaminationFailed, InvalidRequest
from serving.life.exam import examine
from serving.life.examiner import SubprocessExaminer
from serving.life.protocol import Examination
from serving.life.reports import report_of
from tests.lifecycle import until
from training.errors import GateRefused

NEW, OLD = "triage@22222222", "triage@11111111"

PROGRAM = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
exam = json.loads((folder / "exam.json").read_text())
(folder / "asked.json").write_text(json.dumps(exam | {"key": os.environ["LORAPLEX_EXAMINER_KEY"]}))
"""


def run(model: str, *scores: float | str) -> dict[str, Any]:
    results = [
        {"case_id": str(number), "repeat": 0, "answer": {"text": "", "error": None}, "scores": {"accuracy": score}}
        for number, score in enumerate(scores)
    ]
    return {"suite": "triage", "suite_digest": "d", "model": model, "version": model, "primary": "accuracy"} | {
        "results": results,
        "record": {},
    }


def verdict(*, passed: bool) -> dict[str, Any]:
    return {"passed": passed, "outcome": "passed" if passed else "undecided", "reason": "accuracy", "flips": [{}] * 30}


def examiner(tmp_path: Path, program: str, **settings: Any) -> SubprocessExaminer:
    config = parse_config({"model": {"id": "org/base"}, "life": {"folder": str(tmp_path / "life")} | settings})
    return SubprocessExaminer(config, [sys.executable, "-c", PROGRAM + program])


def examination(current: str | None = OLD, suite: str = "suite.yaml") -> Examination:
    return Examination(7, NEW, current, Path(suite), {"alpha": 0.01})


def writes(name: str, value: Any) -> str:
    return f"(folder / {name!r}).write_text({json.dumps(value)!r})"


def result(**changes: Any) -> dict[str, Any]:
    return {"candidate": run(NEW, 1, 1, 0), "current": run(OLD, 1, 0, 0), "verdict": verdict(passed=True)} | changes


async def test_runs_and_verdict_become_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_API_KEY", "secret")
    finding = await examiner(tmp_path, writes("result.json", result())).examine(examination())
    assert (finding.passed, finding.reason) == (True, "passed the gate: accuracy")
    assert [(report.kind, report.verdict) for report in finding.reports] == [
        ("run", None),
        ("run", None),
        ("gate", "passed"),
    ]
    assert {report.version for report in finding.reports} == {NEW}
    assert finding.reports[0].summary == "triage: accuracy 0.6667 over 3 cases"
    assert finding.reports[1].summary.startswith(f"{OLD}, to compare: ")
    assert (len(finding.reports[2].body["flips"]), finding.reports[2].body["flips_in_all"]) == (20, 30)
    asked = json.loads((tmp_path / "life" / "rollout-7" / "asked.json").read_text())
    assert asked == {
        "base_url": "http://127.0.0.1:8000/v1",
        "suite": "suite.yaml",
        "suite_digest": None,
        "candidate": NEW,
        "current": OLD,
        "gate": {"alpha": 0.01},
        "concurrency": 4,
        "key": "secret",
    }


async def test_a_finished_examination_is_not_made_again(tmp_path: Path) -> None:
    await examiner(tmp_path, writes("result.json", result())).examine(examination())
    again = await examiner(tmp_path, "raise SystemExit(9)").examine(examination())
    assert again.passed


async def test_the_result_of_another_examination_with_the_same_number_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(json.dumps({"id": "1", "prompt": "hello"}))
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: s\ncases: cases.jsonl\nscorers:\n  - kind: regex\n    pattern: 'a'\n")
    asked = examination(suite=str(suite))
    await examiner(tmp_path, writes("result.json", result()) + "; (folder / 'candidate.json').touch()").examine(asked)
    other = examiner(tmp_path, "assert not (folder / 'candidate.json').exists(); raise SystemExit(9)")
    for changed in (replace(asked, candidate="triage@33333333"), replace(asked, gate={"alpha": 0.02})):
        with pytest.raises(ExaminationFailed, match="status 9"):
            await other.examine(changed)

    await examiner(tmp_path, writes("result.json", result())).examine(asked)
    assert (await other.examine(asked)).passed
    suite.write_text(suite.read_text().replace("'a'", "'b'"))
    with pytest.raises(ExaminationFailed, match="status 9"):
        await other.examine(asked)


async def test_a_verdict_that_is_not_passed_says_which_it_is(tmp_path: Path) -> None:
    failing = result(verdict=verdict(passed=False))
    finding = await examiner(tmp_path, writes("result.json", failing)).examine(examination())
    assert not finding.passed
    assert finding.reason == "did not pass the gate: accuracy"
    assert finding.reports[-1].verdict == "undecided"


async def test_a_first_version_is_examined_without_a_gate(tmp_path: Path) -> None:
    alone = result(current=None, verdict=None)
    finding = await examiner(tmp_path, writes("result.json", alone)).examine(examination(None))
    assert finding.passed
    assert [report.kind for report in finding.reports] == ["run"]


async def test_a_first_version_that_gives_no_answers_is_not_passed(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    (tmp_path / "cases.jsonl").write_text("\n".join(json.dumps({"id": str(n), "prompt": "hello"}) for n in range(3)))
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: s\ncases: cases.jsonl\nscorers:\n  - kind: regex\n    pattern: 'a'\n")
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        exam = {
            "base_url": f"http://127.0.0.1:{port}/v1",
            "suite": str(suite),
            "candidate": NEW,
            "current": None,
            "gate": {},
            "concurrency": 1,
        }
        (tmp_path / "exam.json").write_text(json.dumps(exam))
        with pytest.raises(GateRefused, match="3 of 3 requests of the candidate run have no answer"):
            await examine(tmp_path, "")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (writes("error.json", {"message": "no such suite"}) + "; raise SystemExit(2)", "no such suite"),
        ("print('one'); raise RuntimeError('broken')", "status 1.*RuntimeError: broken"),
        ("pass", "left no result"),
        (writes("result.json", {})[:-3] + "')", "left no result"),
    ],
)
async def test_an_examination_that_fails_says_why(tmp_path: Path, program: str, problem: str) -> None:
    with pytest.raises(ExaminationFailed, match=problem):
        await examiner(tmp_path, program).examine(examination())


async def test_a_result_that_is_no_run_is_no_result(tmp_path: Path) -> None:
    spoilt = result(candidate=run(NEW, "nan"))
    with pytest.raises(ExaminationFailed, match="left no result: This is not a suite's run"):
        await examiner(tmp_path, writes("result.json", spoilt)).examine(examination())


async def test_an_examination_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = examiner(tmp_path, "time.sleep(60)", examination_timeout_s=0.2)
    with pytest.raises(ExaminationFailed, match=r"longer than 0\.2 s"):
        await slow.examine(examination())


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    program = "(folder / 'pid').write_text(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(examiner(tmp_path, program).examine(examination()))
    pid = tmp_path / "life" / "rollout-7" / "pid"
    await until(lambda: pid.exists() and pid.read_text(), "the process runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{pid.read_text()}").exists()


async def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """Its standard input closes when the parent dies, however it dies."""
    (tmp_path / "exam.json").write_text("{")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WAITS, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"examining\n"
    process.stdin.close()
    async with asyncio.timeout(20):
        assert await process.wait() == 1


_WAITS = """
import asyncio, sys, serving.life.exam as exam
async def examine(folder, key):
    print("examining", flush=True)
    await asyncio.Event().wait()
exam.examine = examine
sys.exit(exam.main())
"""


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"results": [{"case_id": "1"}]},
        {"results": [], "suite": "s"},
        {"passed": "yes", "reason": "r"},
        {"kind": "", "summary": "s"},
        {"kind": "note", "summary": "s", "body": []},
        {"kind": "note", "summary": "s", "verdict": 1},
        {"kind": "n" * 33, "summary": "s"},
        {"kind": "note", "summary": "s", "verdict": "v" * 33},
        {"kind": "note", "summary": "half of \ud83d"},
        {"kind": "note", "summary": "s", "body": {"deep": [{"\udc00": 1}]}},
        {"kind": "note", "summary": "s", "body": {"loss": math.nan}},
        {"passed": True, "reason": "r", "flips": 5},
        {"passed": True, "reason": "r", "flips": None},
        run("m", 10**400),
        run("m", "inf"),
    ],
)
def test_what_is_no_report_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        report_of(NEW, data)


def test_texts_of_reports_lose_what_no_database_keeps() -> None:
    gate = report_of(NEW, {"passed": False, "reason": "a\x00b", "outcome": "un\x00decided"})
    assert (gate.summary, gate.verdict) == ("ab", "undecided")
    made = run(NEW, 1) | {"suite": "tri\x00age"}
    assert report_of(NEW, made).summary == "triage: accuracy 1.0000 over 1 cases"


def test_a_report_of_ones_own_is_taken_as_it_is() -> None:
    report = report_of(NEW, {"kind": "red team", "verdict": "passed", "summary": "3 hours", "body": {"by": "ann"}})
    assert (report.kind, report.verdict, report.summary, report.body) == (
        "red team",
        "passed",
        "3 hours",
        {"by": "ann"},
    )


def test_a_run_with_repeats_weighs_its_cases_alike() -> None:
    one = run(NEW, 1, 0)
    one["results"] += [{**one["results"][0], "repeat": 1, "scores": {"accuracy": 0.0}}]
    one["results"][1]["answer"]["error"] = "timed out"
    report = report_of(NEW, one)
    assert report.summary == "triage: accuracy 0.2500 over 2 cases, 1 without an answer"
    assert report.body["metrics"] == {"accuracy": 0.25}
