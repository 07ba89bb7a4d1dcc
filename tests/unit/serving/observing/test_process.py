"""The process that observes: it is started, answers, is lost, and comes back."""

import sys
from pathlib import Path

import pytest

from serving.config import GatewayConfig, parse_config
from serving.observing.process import ObserverLost, ObserverProcess

ECHO = """
import json, sys
for number, line in enumerate(sys.stdin):
    message = json.loads(line)
    if message.get("records") == ["die"]:
        sys.exit(3)
    if message.get("records") == ["babble"]:
        print("no json", flush=True)
        continue
    if "stop" in message:
        open(sys.argv[1], "w").close()
    print(json.dumps({"number": number, "got": message.get("records"), "config": "config" in message}), flush=True)
"""


@pytest.fixture
def config() -> GatewayConfig:
    return parse_config({"model": {"id": "org/base"}, "monitoring": {}})


def process(config: GatewayConfig, folder: Path) -> ObserverProcess:
    return ObserverProcess(config, "r0", (sys.executable, "-c", ECHO, str(folder / "stopped")))


async def test_it_is_started_once_with_the_configuration_and_told_when_to_end(
    config: GatewayConfig, tmp_path: Path
) -> None:
    it = process(config, tmp_path)
    first = await it.observe([{"kind": "answer"}])
    second = await it.observe([])
    assert (first["number"], second["number"]) == (1, 2)
    assert first["got"] == [{"kind": "answer"}]
    await it.stop()
    assert (tmp_path / "stopped").exists()
    await it.stop()


async def test_one_that_dies_is_started_again_with_the_next_records(config: GatewayConfig, tmp_path: Path) -> None:
    it = process(config, tmp_path)
    with pytest.raises(ObserverLost, match="ended with status"):
        await it.observe(["die"])  # type: ignore[list-item]
    assert (await it.observe([]))["number"] == 1
    await it.stop()


async def test_one_that_answers_nonsense_is_ended(config: GatewayConfig, tmp_path: Path) -> None:
    it = process(config, tmp_path)
    with pytest.raises(ObserverLost):
        await it.observe(["babble"])  # type: ignore[list-item]
    assert (await it.observe([]))["number"] == 1
    await it.stop()


async def test_one_that_cannot_be_started_is_lost(config: GatewayConfig, tmp_path: Path) -> None:
    it = ObserverProcess(config, "r0", (str(tmp_path / "nowhere"),))
    with pytest.raises(ObserverLost, match="cannot be started"):
        await it.observe([])
    await it.stop()


async def test_a_record_that_is_no_json_is_left_out(config: GatewayConfig, tmp_path: Path) -> None:
    it = process(config, tmp_path)
    found = await it.observe([{"answer": "\ud800"}, {"answer": "fine"}])
    assert found["got"] == [{"answer": "fine"}]
    await it.stop()
