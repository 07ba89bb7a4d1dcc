"""The audit log's file: appended to, whole lines, and what happens where nothing can be written."""

import asyncio
import fcntl
import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.config import AuditSettings, parse_config
from serving.errors import AuditUnavailable
from serving.observability.audit import AuditLog, Change, Outcome, append_line, note_start, open_audit
from tests.meta.sources import ROOT

FULL = Path("/dev/full")
"""A device on which every write finds the disk full."""


def lines(path: Path) -> list[dict[str, Any]]:
    """What the file holds."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def change(**given: Any) -> Change:
    """A promotion that olga asks for."""
    return Change(
        "adapters.promote", "triage", "olga", admin=True, request_id="req-1", details={"version": "a"}, **given
    )


async def test_a_change_is_two_lines_with_one_id(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.jsonl"
    log = AuditLog(AuditSettings(file=path))
    asked = change()
    assert await log.begin(asked)
    assert await log.end(asked, Outcome("refused", 409, code="rollout_conflict"))
    begun, ended = lines(path)
    assert begun.pop("time") <= ended.pop("time")
    assert begun == {
        "phase": "begun",
        "id": asked.id,
        "action": "adapters.promote",
        "object": "triage",
        "actor": "olga",
        "key": "olga",
        "admin": True,
        "request_id": "req-1",
        "details": {"version": "a"},
    }
    result = {"result": "refused", "status": 409, "code": "rollout_conflict", "made": None}
    assert ended == begun | {"phase": "ended"} | result


async def test_a_caller_without_a_key_has_none(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await AuditLog(AuditSettings(file=path)).begin(Change("files.upload", "", "anonymous", admin=True, request_id="r"))
    assert [(line["actor"], line["key"]) for line in lines(path)] == [("anonymous", None)]


async def test_what_is_made_names_the_change_that_had_no_object(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    asked = Change("files.upload", "", "olga", admin=False, request_id="r")
    await AuditLog(AuditSettings(file=path)).end(asked, Outcome("ok", 200, made="file-1"))
    assert lines(path)[0]["object"] == "file-1"


def test_only_the_gateways_user_may_read_it(tmp_path: Path) -> None:
    append_line(tmp_path / "audit.jsonl", b"{}\n")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    append_line(path, b'{"n": 1}\n')
    with path.open("ab") as file:
        file.write(b'{"n": ')
    append_line(path, b'{"n": 3}\n')
    assert path.read_text(encoding="utf-8").splitlines() == ['{"n": 1}', '{"n": ', '{"n": 3}']


WRITER = """
import json, sys
from pathlib import Path
from serving.observability.audit import append_line

for number in range(100):
    line = {"writer": int(sys.argv[2]), "number": number, "pad": "x" * 500}
    append_line(Path(sys.argv[1]), json.dumps(line).encode() + b"\\n")
"""


def test_processes_that_share_a_file_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    commands = [[sys.executable, "-c", WRITER, str(path), str(number)] for number in range(2)]
    writers = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for command in commands]
    assert [(writer.communicate(timeout=60)[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    found = [(line["writer"], line["number"]) for line in lines(path)]
    assert sorted(found) == [(writer, number) for writer in range(2) for number in range(100)]


async def test_a_disk_that_hangs_holds_up_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(AuditSettings(file=path))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = [asyncio.create_task(log.begin(change())) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(int) == 0
        assert not any(task.done() for task in waiting)
    assert await asyncio.gather(*waiting) == [True] * 3
    assert [line["phase"] for line in lines(path)] == ["begun"] * 3


async def test_a_full_disk_refuses_the_change_where_that_is_the_policy(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(AuditSettings(file=FULL))
    with pytest.raises(AuditUnavailable, match="was not made"):
        await log.begin(change())
    assert "No space left on device" in caplog.text
    assert "adapters.promote" in caplog.text


async def test_a_full_disk_allows_the_change_where_that_is_the_policy_and_says_so() -> None:
    log = AuditLog(AuditSettings(file=FULL, when_unwritable="allow"))
    assert not await log.begin(change())
    assert not await log.end(change(), Outcome("ok", 200))


async def test_a_folder_that_cannot_be_made_is_as_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuditUnavailable):
        await AuditLog(AuditSettings(file=tmp_path / "file" / "audit.jsonl")).begin(change())


async def test_a_start_notes_the_configuration_and_whose_keys_it_knows(tmp_path: Path) -> None:
    path, digest = tmp_path / "audit.jsonl", "0" * 64
    keys = [
        {"name": "olga", "hash": f"sha256:{digest}", "admin": True},
        {"name": "user", "hash": f"sha256:1{digest[1:]}"},
    ]
    config = parse_config({"model": {"id": "org/base"}, "api_keys": keys, "logging": {"audit": {"file": str(path)}}})
    log = open_audit(config)
    assert log is not None
    await note_start(log, config)
    await note_start(log, config)
    first, second = lines(path)
    assert (first["action"], first["phase"]) == ("config.loaded", "noted")
    assert first["details"] == {"keys": ["olga", "user"], "admins": ["olga"]}
    assert first["object"] == second["object"]
    assert digest not in path.read_text(encoding="utf-8")


def test_it_can_be_switched_off() -> None:
    assert open_audit(parse_config({"model": {"id": "org/base"}, "logging": {"audit": {"enabled": False}}})) is None
