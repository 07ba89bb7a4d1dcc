"""How many generations may be in progress."""

import asyncio

import pytest

from serving.admission import Admission
from serving.config import LimitSettings
from serving.errors import NotReady, Overloaded


def test_above_the_limit_nobody_gets_in_until_somebody_leaves() -> None:
    admission = Admission(LimitSettings(max_concurrent_requests=2))
    admission.enter(None)
    admission.enter("a")
    assert admission.load == 1.0
    with pytest.raises(Overloaded):
        admission.enter(None)
    admission.leave("a")
    admission.enter(None)
    assert admission.in_flight == 2


def test_one_key_cannot_take_every_place() -> None:
    admission = Admission(LimitSettings(max_concurrent_per_key=1))
    admission.enter("a")
    with pytest.raises(Overloaded, match="Your API key"):
        admission.enter("a")
    admission.enter("b")
    admission.enter(None)
    admission.enter(None)
    admission.leave("a")
    admission.enter("a")


def test_a_refusal_takes_no_place() -> None:
    admission = Admission(LimitSettings(max_concurrent_per_key=1))
    admission.enter("a")
    with pytest.raises(Overloaded):
        admission.enter("a")
    admission.leave("a")
    assert admission.in_flight == 0


async def test_draining_waits_for_the_last_one_and_lets_nobody_in() -> None:
    admission = Admission(LimitSettings())
    admission.enter(None)
    draining = asyncio.create_task(admission.drain(5))
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        admission.enter(None)
    assert not draining.done()
    admission.leave(None)
    assert await draining


async def test_draining_gives_up_after_its_time() -> None:
    admission = Admission(LimitSettings())
    admission.enter(None)
    assert not await admission.drain(0.01)


async def test_draining_an_idle_gateway_is_immediate() -> None:
    assert await Admission(LimitSettings()).drain(5)
