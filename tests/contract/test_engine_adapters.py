"""What every engine promises about adapters, and about requests that nobody waits for any more."""

import asyncio
from contextlib import aclosing

import pytest

from serving.engine.protocol import Endpoint, EngineAdapterError, EngineRequest, JsonObject
from tests.contract.engines import FREE_PIECES, EngineCase, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROMPT = "Tell me about the sea, in one sentence."


def request_for(adapter: str | None, body: JsonObject | None = None) -> EngineRequest:
    messages = [{"role": "user", "content": PROMPT}]
    return EngineRequest(
        Endpoint.CHAT, {"messages": messages, "temperature": 0, "max_tokens": 6, **(body or {})}, "adapters", adapter
    )


LONG: dict[Endpoint, JsonObject] = {
    Endpoint.CHAT: {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 100, "ignore_eos": True},
    Endpoint.COMPLETIONS: {"prompt": [PROMPT, PROMPT], "max_tokens": 100, "ignore_eos": True},
    Endpoint.RESPONSES: {"input": "Write a very long story about the sea.", "max_output_tokens": 100},
}


async def said(case: EngineCase, adapter: str | None) -> str:
    answer = await case.engine.complete(request_for(adapter))
    return str(answer["choices"][0]["message"]["content"])


async def names(case: EngineCase) -> set[str]:
    return {adapter.name for adapter in await case.engine.resident()}


async def test_a_loaded_adapter_is_resident_answers_and_is_named_in_its_answers(case: EngineCase) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    assert await names(case) == {"a@1"}
    answer = await case.engine.complete(request_for("a@1"))
    assert answer["model"] == "a@1"
    async with aclosing(case.engine.stream(request_for("a@1"))) as pieces:
        assert {piece["model"] async for piece in pieces} == {"a@1"}


async def test_each_adapter_answers_in_its_own_way_and_the_base_stays_as_it_was(case: EngineCase) -> None:
    base = await said(case, None)
    await case.engine.load_adapter("a@1", case.folder(1))
    await case.engine.load_adapter("b@1", case.folder(2))
    first = [await said(case, name) for name in (None, "a@1", "b@1")]
    assert len(set(first)) == 3
    assert first[0] == base
    # The same prompt again, in another order: what is cached of one must not serve another.
    assert [await said(case, name) for name in ("b@1", None, "a@1")] == [first[2], first[0], first[1]]


async def test_adapters_that_answer_at_once_do_not_mix(case: EngineCase) -> None:
    for number in (1, 2, 3):
        await case.engine.load_adapter(f"m@{number}", case.folder(number))
    alone = {name: await said(case, name) for name in ("m@1", "m@2", "m@3", None)}
    order = ["m@1", None, "m@2", "m@3", "m@2", "m@1", None, "m@3"]
    together = await asyncio.gather(*(said(case, name) for name in order))
    assert [text.split()[:2] for text in together] == [alone[name].split()[:2] for name in order]


async def test_one_folder_under_two_names_is_two_adapters(case: EngineCase) -> None:
    await case.engine.load_adapter("x@1", case.folder(1))
    await case.engine.load_adapter("y@1", case.folder(1))
    assert await names(case) == {"x@1", "y@1"}
    await case.engine.unload_adapter("x@1")
    assert await names(case) == {"y@1"}
    await said(case, "y@1")


async def test_an_unloaded_adapter_is_gone_and_never_answers_as_the_base(case: EngineCase) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    await said(case, "a@1")
    await case.engine.unload_adapter("a@1")
    assert await names(case) == set()
    with pytest.raises(EngineAdapterError):
        await said(case, "a@1")
    with pytest.raises(EngineAdapterError):
        async with aclosing(case.engine.stream(request_for("a@1"))) as pieces:
            await anext(pieces)


async def test_a_name_can_be_loaded_again_after_it_was_unloaded(case: EngineCase) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    before = await said(case, "a@1")
    await case.engine.unload_adapter("a@1")
    await case.engine.load_adapter("a@1", case.folder(1))
    assert await said(case, "a@1") == before


async def test_unloading_what_is_not_there_is_nothing(case: EngineCase) -> None:
    await case.engine.unload_adapter("ghost@1")
    assert await names(case) == set()


async def test_a_load_that_fails_leaves_nothing_behind(case: EngineCase) -> None:
    with pytest.raises(EngineAdapterError, match="broken@1"):
        await case.engine.load_adapter("broken@1", case.folder(1) / "nowhere")
    assert await names(case) == set()
    await said(case, None)


async def test_a_name_is_not_loaded_twice(case: EngineCase) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    with pytest.raises(EngineAdapterError, match="already"):
        await case.engine.load_adapter("a@1", case.folder(1))


async def test_no_adapter_is_dropped_to_make_room(case: EngineCase) -> None:
    for number in range(4):
        await case.engine.load_adapter(f"full@{number}", case.folder(number))
    with pytest.raises(EngineAdapterError, match="4 places"):
        await case.engine.load_adapter("one-more@1", case.folder(4))
    assert await names(case) == {f"full@{number}" for number in range(4)}


async def test_more_adapters_than_slots_all_answer(case: EngineCase) -> None:
    for number in (1, 2, 3, 4):
        await case.engine.load_adapter(f"s@{number}", case.folder(number))
    assert len({await said(case, f"s@{number}") for number in (1, 2, 3, 4)}) == 4


@pytest.mark.parametrize("endpoint", list(Endpoint))
async def test_closing_a_stream_aborts_it_in_the_engine(case: EngineCase, endpoint: Endpoint) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    case.hold(True)
    pieces = case.engine.stream(EngineRequest(endpoint, LONG[endpoint], "closing", "a@1"))
    for _ in range(FREE_PIECES):
        await anext(pieces)
    await eventually(lambda: case.running() > 0, "the generation runs")
    await pieces.aclose()
    await eventually(lambda: case.running() == 0, "the generation is aborted")
    case.hold(False)
    await case.engine.unload_adapter("a@1")
    assert await names(case) == set()


@pytest.mark.parametrize("endpoint", list(Endpoint))
async def test_cancelling_a_request_aborts_it_in_the_engine(case: EngineCase, endpoint: Endpoint) -> None:
    await case.engine.load_adapter("a@1", case.folder(1))
    case.hold(True)
    task = asyncio.create_task(case.engine.complete(EngineRequest(endpoint, LONG[endpoint], "cancelling", "a@1")))
    await eventually(lambda: case.running() > 0, "the generation runs")
    with pytest.raises(EngineAdapterError, match="use"):
        await case.engine.unload_adapter("a@1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: case.running() == 0, "the generation is aborted")
    case.hold(False)
    await case.engine.unload_adapter("a@1")
    assert await names(case) == set()
