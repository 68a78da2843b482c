"""Small steps that nearly every test takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

T = TypeVar("T")

REJECTED = (
    "Thread is already running a task. "
    "Wait for it to finish or choose a different multitask strategy."
)
UNKNOWN_ID = "0190cafe-0000-7000-8000-000000000000"


def human(text: str, **state: Any) -> dict[str, Any]:
    """Graph input: one human message, and other state keys."""
    return {"messages": [{"role": "human", "content": text}], **state}


def options(**runloom: str) -> dict[str, Any]:
    """A run's own partial-output options."""
    return {"configurable": {"runloom": runloom}}


async def is_gone(client: LangGraphClient, thread: str) -> bool:
    """Whether there is no such thread."""
    try:
        await client.threads.get(thread)
    except NotFoundError:
        return True
    return False


async def until(probe: Callable[[], Awaitable[T]], seconds: float = 15) -> T:
    """Polls until the probe gives something true."""
    end = time.monotonic() + seconds
    while True:
        found = await probe()
        if found:
            return found
        assert time.monotonic() < end, f"gave up after {seconds} s; last answer: {found!r}"
        await asyncio.sleep(0.02)


async def run_status(client: LangGraphClient, thread: str, run: str) -> str:
    """A run's status, `gone` when there is no such run."""
    try:
        return (await client.runs.get(thread, run))["status"]
    except NotFoundError:
        return "gone"


async def reaches(
    client: LangGraphClient, thread: str, run: str, *wanted: str, seconds: float = 15
) -> str:
    """Waits until a run has one of the statuses."""

    async def probe() -> str | None:
        status = await run_status(client, thread, run)
        return status if status in wanted else None

    return await until(probe, seconds)


async def thread_rests(client: LangGraphClient, thread: str, seconds: float = 20) -> str:
    """Waits until nothing is in flight on a thread; its status then."""

    async def probe() -> str | None:
        status = (await client.threads.get(thread))["status"]
        return None if status == "busy" else status

    return await until(probe, seconds)


async def state_messages(client: LangGraphClient, thread: str) -> list[dict[str, Any]]:
    """The messages of a thread's current state."""
    values = (await client.threads.get_state(thread))["values"] or {}
    return values.get("messages", [])


async def contents(client: LangGraphClient, thread: str) -> list[Any]:
    """What the messages of a thread say."""
    return [message["content"] for message in await state_messages(client, thread)]


async def said(
    client: LangGraphClient, thread: str, content: str, seconds: float = 15
) -> list[Any]:
    """Waits until some message of the thread has this content."""

    async def probe() -> list[Any] | None:
        now = await contents(client, thread)
        return now if content in now else None

    return await until(probe, seconds)


async def has_messages(client: LangGraphClient, thread: str, count: int) -> list[dict[str, Any]]:
    """Waits until the state holds at least so many messages."""

    async def probe() -> list[dict[str, Any]] | None:
        now = await state_messages(client, thread)
        return now if len(now) >= count else None

    return await until(probe)


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def listed(client: LangGraphClient, thread: str) -> dict[str, str]:
    """Run id to status, of all runs of a thread."""
    runs = await client.runs.list(thread, limit=1000)
    return {run["run_id"]: run["status"] for run in runs}


@contextlib.asynccontextmanager
async def thread_statuses(client: LangGraphClient, thread: str) -> AsyncIterator[list[str]]:
    """Watches a thread's status all the while; repeats are folded."""
    seen: list[str] = []

    async def watch() -> None:
        while True:
            status = (await client.threads.get(thread))["status"]
            if not seen or seen[-1] != status:
                seen.append(status)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
