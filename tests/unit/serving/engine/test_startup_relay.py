"""What an engine's processes say while they start reaches the gateway."""

import logging
import re
import threading
from collections.abc import Iterator

import pytest

from serving.engine import startup_relay
from serving.engine.startup_relay import StartupListener, phase_of


@pytest.mark.parametrize(
    ("message", "phase"),
    [
        ("Starting to load model /models/x...", "loading the weights"),
        ("Loading weights took 0.78 seconds", "weights loaded in 0.78 s"),
        ("CPU KV cache size: 46,592 tokens", "reserving the KV cache: 46,592 tokens"),
        ("Graph capturing finished in 12 secs", "capturing CUDA graphs"),
        ("Warming up model for the compilation...", "warming up the model"),
        ("Using default chat template", None),
    ],
)
def test_a_log_message_marks_a_phase_or_none(message: str, phase: str | None) -> None:
    assert phase_of(message) == phase


@pytest.fixture
def vllm_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("vllm")
    before, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield logger
    for handler in [handler for handler in logger.handlers if handler not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


def test_phases_and_the_cause_of_a_failure_are_relayed(
    vllm_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    seen = threading.Event()

    def progress(message: str) -> None:
        told.append(message)
        if "KV cache" in message:
            seen.set()

    with StartupListener(progress) as listener:
        monkeypatch.setenv(startup_relay.VARIABLE, listener.path)
        startup_relay.attach()
        startup_relay.attach()
        vllm_logger.info("Starting to load model %s...", "m")
        vllm_logger.error("Traceback (most recent call last)")
        try:
            raise ValueError("no room for the KV cache")
        except ValueError:
            vllm_logger.exception("EngineCore failed to start.")
        vllm_logger.info("CPU KV cache size: 1 tokens")
        assert seen.wait(5)
        assert listener.cause == "ValueError: no room for the KV cache"
    assert [re.sub(r" \(\d+ s\)", "", line) for line in told] == [
        "loading the weights",
        "reserving the KV cache: 1 tokens",
    ]
    vllm_logger.info("Starting to load model again")  # Nobody listens: the handler takes itself away.
    assert not [handler for handler in vllm_logger.handlers if type(handler).__module__ == startup_relay.__name__]


def test_a_listener_that_is_busy_for_a_moment_misses_nothing(
    vllm_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    free, all_told = threading.Event(), threading.Event()

    def progress(message: str) -> None:
        free.wait(5)
        told.append(message)
        if len(told) == 40:  # Far more than the socket queues.
            all_told.set()

    with StartupListener(progress) as listener:
        monkeypatch.setenv(startup_relay.VARIABLE, listener.path)
        startup_relay.attach()
        threading.Timer(0.2, free.set).start()
        for number in range(40):
            vllm_logger.info("CPU KV cache size: %d tokens", number)
        assert all_told.wait(5)


def test_nothing_is_attached_where_nobody_listens(vllm_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(vllm_logger.handlers)
    monkeypatch.setenv(startup_relay.VARIABLE, "/nowhere/socket")
    startup_relay.attach()
    assert vllm_logger.handlers == before


def test_the_terminal_is_kept_quiet_where_that_is_asked_for(
    vllm_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.StreamHandler()
    vllm_logger.addHandler(handler)
    with StartupListener(lambda _: None) as listener:
        monkeypatch.setenv(startup_relay.VARIABLE, listener.path)
        monkeypatch.setenv(startup_relay.QUIET, "1")
        startup_relay.attach()
    assert handler.level == logging.WARNING
