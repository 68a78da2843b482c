"""The server dies, or is stopped, while it is busy."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from support.server import ServerProcess
from support.talk import (
    contents,
    human,
    listed,
    new_thread,
    reaches,
    run_status,
    said,
    thread_rests,
)

Launch = Callable[..., ServerProcess]
WHOLE = ["a", "one", "two", "three"]
# A dead worker is noticed by its lease, in seconds.
RECOVERY_SECONDS = 30


async def finishes_once(client: LangGraphClient, thread: str, run: str) -> None:
    await reaches(client, thread, run, "success", seconds=RECOVERY_SECONDS)
    assert await contents(client, thread) == WHOLE
    assert await listed(client, thread) == {run: "success"}
    assert await thread_rests(client, thread) == "idle"
    history = await client.threads.get_history(thread, limit=100)
    for newer, older in itertools.pairwise(history):
        assert newer["parent_checkpoint_id"] == older["checkpoint_id"], "no fork"
    await asyncio.sleep(1)
    assert await contents(client, thread) == WHOLE
    assert await listed(client, thread) == {run: "success"}


async def test_kill_9_in_mid_run(launch: Launch) -> None:
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.6))
    await said(client, thread, "one")
    process.kill()
    process.start()
    await finishes_once(client, thread, run["run_id"])


@pytest.mark.parametrize("moment", ["before the claim", "in the first node", "in the last node"])
async def test_kill_9_at_other_moments(launch: Launch, moment: str) -> None:
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.4))
    if moment == "in the first node":
        await said(client, thread, "a")
    elif moment == "in the last node":
        await said(client, thread, "two")
    process.kill()
    process.start()
    await finishes_once(client, thread, run["run_id"])


async def test_kill_9_while_an_interrupt_is_under_way(launch: Launch) -> None:
    """The intent is in the database: it is neither forgotten nor done twice."""
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    victim = await client.runs.create(thread, "stubborn", input=human("a", delay=5))
    await said(client, thread, "a")
    waiting = await client.runs.create(
        thread, "slow", input=human("b", delay=0.05), multitask_strategy="interrupt"
    )
    process.kill()
    process.start()
    await reaches(client, thread, waiting["run_id"], "success", seconds=RECOVERY_SECONDS)
    assert await run_status(client, thread, victim["run_id"]) == "interrupted"
    assert await contents(client, thread) == ["a", "b", "one", "two", "three"]
    assert await thread_rests(client, thread) == "idle"


async def test_kill_9_while_a_rollback_is_under_way(launch: Launch) -> None:
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "echo", input=human("kept"))
    before = await client.threads.get_state(thread)
    victim = await client.runs.create(thread, "stubborn", input=human("a", delay=5))
    await said(client, thread, "a")
    await client.runs.cancel(thread, victim["run_id"], action="rollback")
    process.kill()
    process.start()
    await reaches(client, thread, victim["run_id"], "gone", seconds=RECOVERY_SECONDS)
    assert await thread_rests(client, thread) == "idle"
    assert await client.threads.get_state(thread) == before


async def test_restart_of_everything_while_busy(launch: Launch) -> None:
    """Many threads, queues and pauses: all is there and all goes on."""
    process = launch()
    client = process.server.client()
    threads = [await new_thread(client) for _ in range(8)]
    first = [
        await client.runs.create(thread, "slow", input=human("a", delay=0.3)) for thread in threads
    ]
    second = [await client.runs.create(thread, "echo", input=human("b")) for thread in threads]
    paused = await new_thread(client)
    await client.runs.wait(paused, "pause", input=human("q"))
    assistant = await client.assistants.create("echo", name="mine")
    await client.store.put_item(["ns"], key="k", value={"v": 1})
    process.kill()
    process.start()
    for thread, *runs in zip(threads, first, second, strict=True):
        for run in runs:
            await reaches(client, thread, run["run_id"], "success", seconds=RECOVERY_SECONDS)
        assert await contents(client, thread) == [*WHOLE, "b", "echo: b"]
    await client.runs.wait(paused, "pause", command={"resume": "yes"})
    assert await contents(client, paused) == ["q", "got yes"]
    assert (await client.assistants.get(assistant["assistant_id"]))["name"] == "mine"
    assert (await client.store.get_item(["ns"], key="k"))["value"] == {"v": 1}


async def test_ctrl_c_drains(launch: Launch) -> None:
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.6))
    await said(client, thread, "one")
    assert await asyncio.to_thread(process.interrupt) == 0
    process.start()
    await finishes_once(client, thread, run["run_id"])


async def test_ctrl_c_with_an_open_stream(launch: Launch) -> None:
    """A client that listens does not hold up the exit for ever, and the run is not lost."""
    process = launch()
    client = process.server.client()
    thread = await new_thread(client)
    events = []

    async def listen() -> None:
        async for part in client.runs.stream(thread, "slow", input=human("a", delay=1)):
            events.append(part.event)

    listening = asyncio.create_task(listen())
    await said(client, thread, "a")
    [run] = await listed(client, thread)
    assert await asyncio.to_thread(process.interrupt) == 0
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    process.start()
    await finishes_once(client, thread, run)


async def test_memory_forgets(launch: Launch) -> None:
    process = launch(memory=True)
    client = process.server.client()
    thread = await new_thread(client)
    process.kill()
    process.start()
    with pytest.raises(httpx.HTTPStatusError):
        await client.threads.get(thread)
