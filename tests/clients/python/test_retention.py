"""What a server deletes in time, as its users see it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from langgraph_sdk.client import LangGraphClient
from support.server import ServerProcess
from support.talk import contents, human, is_gone, until

Launch = Callable[..., ServerProcess]
# A look every quarter of a second, at threads that are kept for three seconds.
OFTEN = ("--retention-interval", "0.25")
THREE_SECONDS = 0.05


async def test_threads_expire_by_the_servers_ttl_or_their_own(launch: Launch) -> None:
    process = launch("--thread-ttl", str(THREE_SECONDS), *OFTEN)
    client = process.server.client()
    usual = (await client.threads.create())["thread_id"]
    await client.runs.wait(usual, "echo", input=human("a"))
    longer = (await client.threads.create(ttl=60))["thread_id"]
    run = await client.runs.create(None, "echo", input=human("b"), on_completion="keep")
    busy = (await client.threads.create())["thread_id"]
    await client.runs.create(busy, "slow", input=human("c", delay=1.5))
    for thread in (usual, run["thread_id"]):
        await until(lambda thread=thread: is_gone(client, thread))
    assert await client.threads.count() == 2, "one lives longer and one is busy"
    assert not await is_gone(client, longer)
    await until(lambda: is_gone(client, busy))
    numbers = httpx.get(f"{process.server.url}/metrics").text
    assert 'runloom_expired_threads_total{strategy="delete"} 3' in numbers
    assert 'runloom_expired_threads_total{strategy="keep_latest"} 0' in numbers


async def test_a_thread_that_keeps_its_latest_state_goes_on_from_there(launch: Launch) -> None:
    process = launch(*OFTEN)
    client = process.server.client()
    ttl = {"ttl": THREE_SECONDS, "strategy": "keep_latest"}
    thread = (await client.threads.create(ttl=ttl))["thread_id"]
    await client.runs.wait(thread, "echo", input=human("a"))
    before = await client.threads.get_state(thread)

    async def is_trimmed() -> bool:
        return len(await client.threads.get_history(thread)) == 1

    assert not await is_trimmed()
    await until(is_trimmed)
    after = await client.threads.get_state(thread)
    assert (after["values"], after["checkpoint"]) == (before["values"], before["checkpoint"])
    await client.runs.wait(thread, "echo", input=human("b"))
    assert await contents(client, thread) == ["a", "echo: a", "b", "echo: b"]
    await until(is_trimmed)
    assert len(await client.runs.list(thread)) == 2
