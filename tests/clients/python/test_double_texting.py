"""The scenario that defines the product, and the four strategies."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, convert_to_messages
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError
from support.talk import (
    REJECTED,
    human,
    listed,
    run_status,
    state_messages,
    thread_rests,
    thread_statuses,
)

SF = "what's the weather in sf?"
NYC = "what's the weather in nyc?"
# Past the tool's answer, before the final one.
MID_RUN = 2


def is_question(message: dict[str, Any], text: str) -> bool:
    return message["type"] == "human" and message["content"] == text


def check_tool_use(ai: dict[str, Any], tool: dict[str, Any]) -> None:
    """An AI message that calls a tool, and the tool's answer to it."""
    assert ai["type"] == "ai"
    assert any(block["type"] == "tool_use" for block in ai["content"])
    [call] = ai["tool_calls"]
    assert call["name"] and call["id"]
    assert set(call["args"]) == {"query"}
    assert tool["type"] == "tool"
    assert tool["name"] == call["name"]
    assert tool["tool_call_id"] == call["id"]
    json.loads(tool["content"])


def check_full_turn(turn: list[dict[str, Any]], question: str) -> None:
    assert len(turn) == 4
    assert is_question(turn[0], question)
    check_tool_use(turn[1], turn[2])
    assert turn[3]["type"] == "ai" and turn[3]["content"] and not turn[3].get("tool_calls")


def check_langchain_accepts(messages: list[dict[str, Any]]) -> None:
    kinds = {"human": HumanMessage, "ai": AIMessage, "tool": ToolMessage}
    converted = convert_to_messages(messages)
    assert len(converted) == len(messages)
    for wire, message in zip(messages, converted, strict=True):
        assert isinstance(message, kinds[wire["type"]])
        assert message.id == wire["id"]
        assert message.pretty_repr()
        if wire["type"] == "ai":
            wanted = [(call["name"], call["args"], call["id"]) for call in wire["tool_calls"]]
            got = [(call["name"], call["args"], call["id"]) for call in message.tool_calls]
            assert got == wanted


async def test_the_scenario(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    first = await client.runs.create(thread, "agent", input=human(SF))
    await asyncio.sleep(MID_RUN)
    second = await client.runs.create(
        thread, "agent", input=human(NYC), multitask_strategy="interrupt"
    )
    assert second["status"] == "pending"
    await client.runs.join(thread, second["run_id"])

    messages = (await client.threads.get_state(thread))["values"]["messages"]
    assert len(messages) == 7
    assert is_question(messages[0], SF)
    check_tool_use(messages[1], messages[2])
    check_full_turn(messages[3:], NYC)
    assert len({message["id"] for message in messages}) == 7
    check_langchain_accepts(messages)

    assert (await client.runs.get(thread, first["run_id"]))["status"] == "interrupted"
    assert await listed(client, thread) == {
        first["run_id"]: "interrupted",
        second["run_id"]: "success",
    }
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_reject(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "agent", input=human(SF))
    async with thread_statuses(client, thread) as statuses:
        with pytest.raises(ConflictError) as refused:
            await client.runs.create(thread, "agent", input=human(NYC), multitask_strategy="reject")
        assert refused.value.status_code == 409
        assert refused.value.body == {"detail": REJECTED}
        await client.runs.join(thread, first["run_id"])
        await thread_rests(client, thread)
    assert statuses[0] == "busy" and statuses in (["busy"], ["busy", "idle"])
    check_full_turn(await state_messages(client, thread), SF)
    assert await listed(client, thread) == {first["run_id"]: "success"}


@pytest.mark.parametrize("form", ["stream", "wait"])
async def test_reject_in_the_other_forms(client: LangGraphClient, thread: str, form: str) -> None:
    first = await client.runs.create(thread, "slow", input=human("one"))
    # The client's `wait` raises httpx's own error, of which a conflict error is a kind.
    with pytest.raises(httpx.HTTPStatusError) as refused:
        if form == "wait":
            await client.runs.wait(thread, "slow", input=human("two"), multitask_strategy="reject")
        else:
            async for _ in client.runs.stream(
                thread, "slow", input=human("two"), multitask_strategy="reject"
            ):
                pass
    assert refused.value.response.status_code == 409
    await client.runs.join(thread, first["run_id"])
    assert list(await listed(client, thread)) == [first["run_id"]]


async def test_reject_on_an_idle_thread_runs(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(
        thread, "echo", input=human("hello"), multitask_strategy="reject"
    )
    assert values["messages"][-1]["content"] == "echo: hello"


@pytest.mark.parametrize("strategy", ["enqueue", None], ids=["enqueue", "by default"])
async def test_enqueue(client: LangGraphClient, thread: str, strategy: Any) -> None:
    first = await client.runs.create(thread, "agent", input=human(SF))
    async with thread_statuses(client, thread) as statuses:
        second = await client.runs.create(
            thread, "agent", input=human(NYC), multitask_strategy=strategy
        )
        assert second["status"] == "pending"
        assert second["multitask_strategy"] == "enqueue"
        await client.runs.join(thread, first["run_id"])
        assert await run_status(client, thread, first["run_id"]) == "success"
        assert await run_status(client, thread, second["run_id"]) in ("pending", "running")
        await client.runs.join(thread, second["run_id"])
        await thread_rests(client, thread)
    assert statuses in (["busy"], ["busy", "idle"]), "busy without a gap"
    messages = await state_messages(client, thread)
    check_full_turn(messages[:4], SF)
    check_full_turn(messages[4:], NYC)
    assert set((await listed(client, thread)).values()) == {"success"}


async def test_interrupt_keeps_the_thread_busy(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "agent", input=human(SF))
    async with thread_statuses(client, thread) as statuses:
        await asyncio.sleep(MID_RUN)
        second = await client.runs.create(
            thread, "agent", input=human(NYC), multitask_strategy="interrupt"
        )
        await client.runs.join(thread, second["run_id"])
        await thread_rests(client, thread)
    assert statuses in (["busy"], ["busy", "idle"]), "busy without a gap"
    messages = await state_messages(client, thread)
    assert is_question(messages[0], SF)
    check_tool_use(messages[1], messages[2])
    check_full_turn(messages[3:], NYC)
    assert await run_status(client, thread, first["run_id"]) == "interrupted"


async def test_rollback(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "agent", input=human(SF))
    async with thread_statuses(client, thread) as statuses:
        second = await client.runs.create(
            thread, "agent", input=human(NYC), multitask_strategy="rollback"
        )
        assert second["status"] == "pending"
        await client.runs.join(thread, second["run_id"])
        await thread_rests(client, thread)
    assert statuses in (["busy"], ["busy", "idle"]), "busy without a gap"
    check_full_turn(await state_messages(client, thread), NYC)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, first["run_id"])
    assert await listed(client, thread) == {second["run_id"]: "success"}
    history = await client.threads.get_history(thread, limit=1000)
    assert {state["metadata"]["run_id"] for state in history} == {second["run_id"]}


async def test_rollback_spares_finished_runs(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("kept"))
    before = await client.threads.get_history(thread, limit=1000)
    victim = await client.runs.create(thread, "slow", input=human("gone", delay=3))
    successor = await client.runs.create(
        thread, "echo", input=human("new"), multitask_strategy="rollback"
    )
    await client.runs.join(thread, successor["run_id"])
    said = [message["content"] for message in await state_messages(client, thread)]
    assert said == ["kept", "echo: kept", "new", "echo: new"]
    assert await run_status(client, thread, victim["run_id"]) == "gone"
    after = await client.threads.get_history(thread, limit=1000)
    assert after[-len(before) :] == before, "earlier checkpoints are untouched"


async def test_a_successor_starts_on_its_victims_last_checkpoint(
    client: LangGraphClient, thread: str
) -> None:
    """The chain has no forks: the new input's parent is the last checkpoint of the victim."""
    victim = await client.runs.create(thread, "slow", input=human("first", delay=0.5))
    while len(await state_messages(client, thread)) < 2:
        await asyncio.sleep(0.02)
    successor = await client.runs.create(
        thread, "echo", input=human("second"), multitask_strategy="interrupt"
    )
    await client.runs.join(thread, successor["run_id"])
    newest_first = await client.threads.get_history(thread, limit=1000)
    for newer, older in itertools.pairwise(newest_first):
        assert newer["parent_checkpoint"]["checkpoint_id"] == older["checkpoint_id"]
        assert newer["metadata"]["step"] == older["metadata"]["step"] + 1
    assert newest_first[-1]["parent_checkpoint"] is None
    owners = [state["metadata"]["run_id"] for state in reversed(newest_first)]
    assert owners == sorted(owners, key=[victim["run_id"], successor["run_id"]].index)
    inputs = [state for state in newest_first if state["metadata"]["source"] == "input"]
    assert len(inputs) == 2
