"""What stays of a run that was stopped: streamed text, tool calls, siblings, waiting input."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import convert_to_messages
from langgraph_sdk.client import LangGraphClient
from support.server import ServerProcess
from support.talk import (
    contents,
    has_messages,
    human,
    listed,
    new_thread,
    options,
    reaches,
    said,
    state_messages,
)

LONG = {"count": 1000, "rate": 50}
SHORT = {"count": 2, "rate": 100}


class Listener:
    """Streams a long answer and remembers what it heard of it."""

    def __init__(
        self, client: LangGraphClient, thread: str, *, state: Any = LONG, **more: Any
    ) -> None:
        self.client, self.thread, self.state = client, thread, state
        self.chunks: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._listen(more))

    async def _listen(self, more: dict[str, Any]) -> None:
        async for part in self.client.runs.stream(
            self.thread,
            "tokens",
            input=human("a", **self.state),
            stream_mode="messages-tuple",
            **more,
        ):
            if part.event == "messages":
                self.chunks.append(part.data[0])

    @property
    def text(self) -> str:
        return "".join(chunk["content"] for chunk in self.chunks)

    async def heard(self, count: int) -> str:
        """Waits for so many tokens; the run's id."""
        while len(self.chunks) < count:
            await asyncio.sleep(0.01)
            if self.task.done():
                await self.task
                raise AssertionError("the stream ended early")
        return (await self.client.runs.list(self.thread, limit=1))[0]["run_id"]

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, 10)


def check_residue(message: dict[str, Any], listener: Listener, run: str) -> None:
    """The streamed part, marked so that nobody takes it for a finished answer."""
    assert message["type"] == "ai"
    assert message["id"] == listener.chunks[0]["id"], "clients replace by id"
    assert message["content"] == listener.text.rstrip()
    assert message["response_metadata"]["finish_reason"] == "interrupted"
    mark = message["additional_kwargs"]["interrupted"]
    assert mark["node"] == "model" and mark["run_id"] == run and mark["reason"]
    assert not message.get("tool_calls") and not message.get("usage_metadata")


async def test_a_streamed_answer_survives_an_interrupt(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    listener = Listener(client, thread)
    run = await listener.heard(8)
    last = await other_client.runs.create(
        thread, "tokens", input=human("b", **SHORT), multitask_strategy="interrupt"
    )
    await listener.ended()
    await other_client.runs.join(thread, last["run_id"])
    messages = await state_messages(other_client, thread)
    assert [message["type"] for message in messages] == ["human", "ai", "human", "ai"]
    assert messages[2]["content"] == "b"
    check_residue(messages[1], listener, run)
    assert len(convert_to_messages(messages)) == 4


async def test_it_survives_a_cancel_and_is_dropped_on_resume(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    listener = Listener(client, thread, state={"count": 60, "rate": 30})
    run = await listener.heard(8)
    before = await other_client.threads.get_history(thread, limit=100)
    await other_client.runs.cancel(thread, run, wait=True)
    await listener.ended()
    messages = await state_messages(other_client, thread)
    assert [message["type"] for message in messages] == ["human", "ai"]
    check_residue(messages[1], listener, run)
    assert (await other_client.threads.get_state(thread))["next"] == ["model"]
    after = await other_client.threads.get_history(thread, limit=100)
    assert [state["checkpoint_id"] for state in after] == [
        state["checkpoint_id"] for state in before
    ], "no checkpoint is added"
    # Going on makes the answer anew: its half must not stand beside it.
    await other_client.runs.wait(thread, "tokens", input=None)
    messages = await state_messages(other_client, thread)
    assert [message["type"] for message in messages] == ["human", "ai"]
    assert len(messages[1]["content"]) > len(listener.text)
    assert "interrupted" not in messages[1]["additional_kwargs"]


async def test_it_survives_an_update_of_the_state(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    listener = Listener(client, thread)
    run = await listener.heard(5)
    await other_client.runs.cancel(thread, run, wait=True)
    await listener.ended()
    await other_client.threads.update_state(thread, human("note"), as_node="model")
    messages = await state_messages(other_client, thread)
    assert [message["type"] for message in messages] == ["human", "ai", "human"]
    check_residue(messages[1], listener, run)


async def test_partial_off(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    listener = Listener(client, thread, config=options(partial="off"))
    run = await listener.heard(8)
    await other_client.runs.cancel(thread, run, wait=True)
    await listener.ended()
    assert await contents(other_client, thread) == ["a"]
    stored = await other_client.runs.get(thread, run)
    assert listener.text.rstrip() in str(stored["interrupted_output"]), "the run keeps it"


async def test_text_that_nobody_heard_is_not_kept(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "tokens", input=human("a", **LONG))
    await said(client, thread, "a")
    await asyncio.sleep(0.3)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert await contents(client, thread) == ["a"]


async def test_rollback_leaves_nothing(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    listener = Listener(client, thread)
    run = await listener.heard(8)
    await other_client.runs.cancel(thread, run, wait=True, action="rollback")
    await listener.ended()
    assert await contents(other_client, thread) == []
    await other_client.runs.wait(thread, "echo", input=human("b"))
    assert await contents(other_client, thread) == ["b", "echo: b"]


async def interrupted_in_the_tool(
    client: LangGraphClient, thread: str, **runloom: str
) -> list[dict[str, Any]]:
    """Messages after a turn that was interrupted while its tool ran, and a full second turn."""
    settings = {"config": options(**runloom)} if runloom else {}
    first = await client.runs.create(thread, "tool_wait", input=human("a", delay=5), **settings)
    await has_messages(client, thread, 2)
    last = await client.runs.create(
        thread,
        "tool_wait",
        input=human("b", delay=0.02),
        multitask_strategy="interrupt",
        **settings,
    )
    await client.runs.join(thread, last["run_id"])
    assert (await listed(client, thread))[first["run_id"]] == "interrupted"
    return await state_messages(client, thread)


async def test_an_unanswered_tool_call_is_answered(client: LangGraphClient, thread: str) -> None:
    messages = await interrupted_in_the_tool(client, thread)
    turn = ["human", "ai", "tool"]
    assert [message["type"] for message in messages] == [*turn, *turn, "ai"]
    [call] = messages[1]["tool_calls"]
    repair = messages[2]
    assert repair["status"] == "error" and repair["tool_call_id"] == call["id"]
    assert repair["name"] == call["name"] and repair["content"] and repair["id"]
    assert messages[5]["content"] == "found" and messages[5]["status"] == "success"
    # Providers refuse a thread in which a call has no answer right after it.
    convert_to_messages(messages)


async def test_tool_calls_kept_as_they_are(client: LangGraphClient, thread: str) -> None:
    messages = await interrupted_in_the_tool(client, thread, tool_calls="keep")
    kinds = [message["type"] for message in messages]
    assert kinds == ["human", "ai", "human", "ai", "tool", "ai"]


async def test_a_repair_does_not_stand_in_the_way_of_a_resume(
    client: LangGraphClient, thread: str
) -> None:
    run = await client.runs.create(thread, "tool_wait", input=human("a", delay=1))
    await has_messages(client, thread, 2)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert [m["type"] for m in await state_messages(client, thread)] == ["human", "ai", "tool"]
    await client.runs.wait(thread, "tool_wait", input=None)
    messages = await state_messages(client, thread)
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2]["content"] == "found" and messages[3]["content"] == "done"


async def test_a_finished_sibling_survives(client: LangGraphClient, thread: str) -> None:
    stream = client.runs.stream(thread, "fork", input=human("a", delay=5), stream_mode="updates")
    async for part in stream:
        if part.event == "updates" and "left" in part.data:
            break
    last = await client.runs.create(
        thread, "echo", input=human("b"), multitask_strategy="interrupt"
    )
    await stream.aclose()
    await client.runs.join(thread, last["run_id"])
    assert await contents(client, thread) == ["a", "left", "b", "echo: b"]


async def test_a_finished_sibling_does_not_run_again_on_resume(
    client: LangGraphClient, thread: str
) -> None:
    parts: list[Any] = []

    async def collect(input: Any) -> None:
        async for part in client.runs.stream(thread, "fork", input=input, stream_mode="updates"):
            parts.append(part)

    first = asyncio.create_task(collect(human("a", delay=1)))
    while not any("left" in part.data for part in parts):
        await asyncio.sleep(0.02)
    [run] = await listed(client, thread)
    await client.runs.cancel(thread, run, wait=True)
    await first
    parts.clear()
    await collect(None)
    assert await contents(client, thread) == ["a", "left", "right", "join"]


async def waiting_input(client: LangGraphClient, thread: str, **runloom: str) -> list[str]:
    """A run waits behind another, and both are interrupted; what is said in the end."""
    settings = {"config": options(**runloom)} if runloom else {}
    running = await client.runs.create(thread, "slow", input=human("a", delay=5), **settings)
    await said(client, thread, "a")
    waiting = await client.runs.create(thread, "echo", input=human("b"), **settings)
    last = await client.runs.create(
        thread, "echo", input=human("c"), multitask_strategy="interrupt", **settings
    )
    await client.runs.join(thread, last["run_id"])
    statuses = await listed(client, thread)
    assert statuses[running["run_id"]] == statuses[waiting["run_id"]] == "interrupted"
    return await contents(client, thread)


async def test_the_input_of_a_waiting_run_is_kept(client: LangGraphClient, thread: str) -> None:
    assert await waiting_input(client, thread) == ["a", "b", "c", "echo: c"]
    inputs = [
        state
        for state in await client.threads.get_history(thread, limit=100)
        if state["metadata"]["source"] == "input"
    ]
    owners = [state["metadata"]["run_id"] for state in inputs]
    assert len(set(owners)) == 3, "each input checkpoint belongs to its run"


async def test_the_input_of_a_waiting_run_dropped(client: LangGraphClient, thread: str) -> None:
    kept = await waiting_input(client, thread, pending_input="drop")
    assert kept == ["a", "c", "echo: c"]


async def test_the_strict_profile(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    """Byte parity: no residue, no repair, no kept input."""
    strict = {"profile": "strict"}
    assert await waiting_input(client, thread, **strict) == ["a", "c", "echo: c"]
    second = await new_thread(client)
    messages = await interrupted_in_the_tool(client, second, **strict)
    kinds = [message["type"] for message in messages]
    assert kinds == ["human", "ai", "human", "ai", "tool", "ai"]
    third = await new_thread(client)
    listener = Listener(client, third, config=options(**strict))
    run = await listener.heard(5)
    await other_client.runs.cancel(third, run, wait=True)
    await listener.ended()
    assert await contents(client, third) == ["a"]


SERVER_FLAGS = [
    ("--partial", "off", "--tool-calls", "keep", "--pending-input", "drop"),
    ("--profile", "strict"),
]


@pytest.mark.parametrize("flags", SERVER_FLAGS, ids=["each flag", "the profile"])
async def test_the_servers_own_settings(
    launch: Callable[..., ServerProcess], flags: tuple[str, ...]
) -> None:
    client = launch(*flags, memory=True).server.client()
    async with contextlib.aclosing(client.http.client):
        assert await waiting_input(client, await new_thread(client)) == ["a", "c", "echo: c"]
        messages = await interrupted_in_the_tool(client, await new_thread(client))
        kinds = [message["type"] for message in messages]
        assert kinds == ["human", "ai", "human", "ai", "tool", "ai"]
        # A run's own options go before the server's.
        thread = await new_thread(client)
        own = {"pending_input": "keep", "tool_calls": "repair", "partial": "auto"}
        assert await waiting_input(client, thread, **own) == ["a", "b", "c", "echo: c"]
        listener = Listener(client, await new_thread(client))
        run = await listener.heard(5)
        await client.runs.cancel(listener.thread, run)
        await listener.ended()
        await reaches(client, listener.thread, run, "interrupted")
        assert await contents(client, listener.thread) == ["a"]
