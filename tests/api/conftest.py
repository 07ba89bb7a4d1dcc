"""Fixtures for tests that talk to a gateway over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.api.harness import RunningGateway, config_of, run_gateway


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway without authentication."""
    async with run_gateway(config_of(), tmp_path) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official asynchronous SDK, talking to ``gateway``."""
    async with gateway.sdk() as sdk:
        yield sdk
