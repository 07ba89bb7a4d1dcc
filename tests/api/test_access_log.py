"""What each generation leaves in the log."""

from pathlib import Path
from typing import Any

import pytest

from monitoring.redaction import CARD, EMAIL
from serving.engine.protocol import EngineFailed
from tests.api.harness import BASE, STABLE, RunningGateway, config_of, run_gateway
from tests.api.telling import Lines, logged
from tests.lifecycle import until

HELLO: Any = [{"role": "user", "content": "write to jane@example.com about 4111 1111 1111 1111"}]
URL = "/v1/chat/completions"


async def until_lines(lines: Lines, count: int) -> Lines:
    """The lines, once there are so many: the last one may be written after its answer was read."""
    await until(lambda: len(lines) >= count, f"{count} lines")
    return lines


@pytest.mark.parametrize("stream", [False, True])
async def test_a_generation_leaves_one_line_without_its_texts(gateway: RunningGateway, *, stream: bool) -> None:
    body = {"model": "support", "messages": HELLO, "stream": stream}
    with logged("serving") as lines:
        await gateway.http.post(URL, json=body, headers={"x-request-id": "mine"})
        (line,) = await until_lines(lines, 1)
    assert "jane" not in str(line)
    times = {name: line.pop(name) for name in list(line) if name.endswith("_s")}
    assert times["duration_s"] >= times["engine_s"] >= 0
    assert ("first_token_s" in times) is stream
    assert line.pop("time")
    assert line.pop("prompt_tokens") > 0
    assert line.pop("completion_tokens") > 0
    assert line == {
        "level": "info",
        "logger": "serving.access",
        "message": "generation",
        "request_id": "mine",
        "task": "support",
        "version": STABLE,
        "role": "stable",
        "caller": "anonymous",
        "endpoint": "chat.completions",
        "streamed": stream,
        "outcome": "ok",
        "finish_reasons": "stop",
    }


async def test_a_failure_says_by_which_code(gateway: RunningGateway) -> None:
    gateway.engine.fail_next(EngineFailed("secret"))
    with logged("serving") as lines:
        await gateway.http.post(URL, json={"model": BASE, "messages": HELLO})
        await until_lines(lines, 2)
    by_logger = {line["logger"]: line for line in lines}
    assert by_logger["serving.access"]["outcome"] == "server_error"
    assert by_logger["serving.access"]["error"] == "engine_failed"
    failed = by_logger["serving.api.middleware"]
    assert failed["request_id"] == by_logger["serving.access"]["request_id"]
    assert failed["task"] == BASE
    assert "EngineFailed" in failed["exception"]
    assert "secret" not in str(lines)


async def test_the_line_can_be_switched_off(tmp_path: Path) -> None:
    async with run_gateway(config_of(logging={"access": False}), tmp_path) as gateway:
        with logged("serving") as lines:
            await gateway.http.post(URL, json={"model": "support", "messages": HELLO})
            await gateway.until_idle()
    assert lines == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_task_that_asks_for_it_has_its_texts_logged_redacted(tmp_path: Path, *, stream: bool) -> None:
    tasks = {"open": {"log_texts": True}, "closed": {}}
    async with run_gateway(config_of(tasks=tasks), tmp_path) as gateway:
        gateway.engine.saying = "I wrote to jane@example.com."
        with logged("serving") as lines:
            for model in ("closed", "open"):
                await gateway.http.post(URL, json={"model": model, "messages": HELLO, "stream": stream})
            await until_lines(lines, 3)
    (texts,) = [line for line in lines if line["logger"] == "serving.texts"]
    assert texts["task"] == "open"
    assert texts["prompt"] == f"user: write to {EMAIL} about {CARD}"
    assert texts["answers"] == [f"I wrote to {EMAIL}."]
    assert "jane" not in str(lines)


async def test_texts_are_cut_where_the_configuration_says(tmp_path: Path) -> None:
    config = config_of(tasks={"open": {"log_texts": True}}, logging={"max_text_chars": 9})
    async with run_gateway(config, tmp_path) as gateway:
        with logged("serving.texts") as lines:
            await gateway.http.post(URL, json={"model": "open", "messages": [{"role": "user", "content": "one two"}]})
            (texts,) = await until_lines(lines, 1)
    assert texts["prompt"] == "user: one…"
