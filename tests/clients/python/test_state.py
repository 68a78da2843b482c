"""State: reading, history, updates, forks, pauses and resumes."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError
from support.talk import contents, human, listed, said, until

EMPTY = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}


async def test_the_empty_state(client: LangGraphClient, thread: str) -> None:
    assert await client.threads.get_state(thread) == EMPTY
    assert await client.threads.get_history(thread) == []


async def test_the_state_object(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"), metadata={"mine": 1})
    await client.runs.join(thread, run["run_id"])
    state = await client.threads.get_state(thread)
    assert set(state) >= set(EMPTY)
    assert state["next"] == [] and state["tasks"] == [] and state["interrupts"] == []
    assert state["checkpoint"] == {
        "thread_id": thread,
        "checkpoint_ns": "",
        "checkpoint_id": state["checkpoint_id"],
    }
    assert state["parent_checkpoint"]["checkpoint_id"] == state["parent_checkpoint_id"]
    metadata = state["metadata"]
    assert metadata["source"] == "loop" and metadata["step"] == 1
    assert metadata["run_id"] == run["run_id"] and metadata["thread_id"] == thread
    assert metadata["graph_id"] == "echo" and metadata["mine"] == 1
    assert metadata["assistant_id"] == run["assistant_id"] and metadata["parents"] == {}


async def test_the_state_is_live(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=1))
    await said(client, thread, "one")
    state = await client.threads.get_state(thread)
    assert state["next"] == ["two"]
    [task] = state["tasks"]
    assert task["name"] == "two" and task["error"] is None and task["interrupts"] == []
    assert set(task) >= {"id", "name", "path", "error", "interrupts", "checkpoint", "state"}
    await client.runs.join(thread, run["run_id"])


async def test_history(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    states = await client.threads.get_history(thread, limit=100)
    assert [state["metadata"]["step"] for state in states] == [3, 2, 1, 0, -1]
    assert [state["next"] for state in states] == [
        [],
        ["three"],
        ["two"],
        ["one"],
        ["__start__"],
    ]
    ids = [state["checkpoint_id"] for state in states]
    assert ids == sorted(ids, reverse=True), "ids grow with time"
    for newer, older in itertools.pairwise(states):
        assert newer["parent_checkpoint_id"] == older["checkpoint_id"]
    assert states[1]["tasks"][0]["result"]["messages"][0]["content"] == "three"
    assert await client.threads.get_history(thread, limit=2) == states[:2]
    before = await client.threads.get_history(thread, limit=100, before=states[1]["checkpoint"])
    assert before == states[2:]
    found = await client.threads.get_history(thread, limit=100, metadata={"source": "input"})
    assert found == states[-1:]
    got = await http.get(f"/threads/{thread}/history", params={"limit": 2})
    assert got.json() == states[:2]
    assert len((await http.post(f"/threads/{thread}/history", json={})).json()) == 1


async def test_state_at_a_checkpoint(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    past = (await client.threads.get_history(thread, limit=100))[2]
    by_id = await client.threads.get_state(thread, checkpoint_id=past["checkpoint_id"])
    by_object = await client.threads.get_state(thread, checkpoint=past["checkpoint"])
    assert by_id["values"] == by_object["values"] == past["values"]
    assert by_id["next"] == by_object["next"] == ["two"]


async def test_update(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    before = await client.threads.get_state(thread)
    answer = await client.threads.update_state(thread, human("b"), as_node="echo")
    state = await client.threads.get_state(thread)
    assert answer["checkpoint"]["checkpoint_id"] == state["checkpoint_id"]
    assert state["metadata"]["source"] == "update"
    assert state["metadata"]["step"] == before["metadata"]["step"] + 1
    assert state["parent_checkpoint_id"] == before["checkpoint_id"]
    assert await contents(client, thread) == ["a", "echo: a", "b"]
    stored = (await client.threads.get(thread))["values"]
    assert [m["content"] for m in stored["messages"]] == ["a", "echo: a", "b"]


async def test_update_replaces_a_message_by_its_id(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "echo", input=human("a"))
    changed = {**values["messages"][1], "content": "better"}
    await client.threads.update_state(thread, {"messages": [changed]})
    assert await contents(client, thread) == ["a", "better"]


async def test_update_of_an_idle_thread_may_lead_on(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    await client.threads.update_state(thread, human("b"), as_node="one")
    assert (await client.threads.get_state(thread))["next"] == ["two"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    await client.runs.wait(thread, "slow", input=None)
    assert (await contents(client, thread))[-3:] == ["b", "two", "three"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_refused_updates(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(BadRequestError):
        await client.threads.update_state(thread, human("no graph yet"))
    await client.runs.wait(thread, "echo", input=human("a"))
    with pytest.raises(BadRequestError):
        await client.threads.update_state(thread, human("b"), as_node="nobody")
    assert await contents(client, thread) == ["a", "echo: a"]


async def test_no_update_while_a_run_is_in_flight(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    delayed = await client.runs.create(thread, "echo", input=human("later"), after_seconds=600)
    before = await client.threads.get_state(thread)
    with pytest.raises(ConflictError) as refused:
        await client.threads.update_state(thread, human("b"))
    assert "kwargs" not in refused.value.message, "rows are nobody's business"
    assert await client.threads.get_state(thread) == before
    await client.runs.cancel(thread, delayed["run_id"], wait=True, action="rollback")
    await client.threads.update_state(thread, human("b"))
    assert await contents(client, thread) == ["a", "echo: a", "b"]


async def test_fork_with_input(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    first = await client.threads.get_state(thread)
    await client.runs.wait(thread, "echo", input=human("b"))
    await client.runs.wait(thread, "echo", input=human("c"), checkpoint_id=first["checkpoint_id"])
    assert await contents(client, thread) == ["a", "echo: a", "c", "echo: c"]
    states = await client.threads.get_history(thread, limit=100)
    [_, _, fork] = states[:3]
    assert fork["metadata"]["source"] == "input"
    assert fork["parent_checkpoint_id"] == first["checkpoint_id"]
    assert ["a", "echo: a", "b", "echo: b"] in [
        [m["content"] for m in state["values"].get("messages", [])] for state in states
    ], "the other branch is kept"


async def test_fork_without_input(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    past = (await client.threads.get_history(thread, limit=100))[1]
    assert past["next"] == ["three"]
    first = await contents(client, thread)
    run = await client.runs.create(
        thread, "slow", input=None, checkpoint={"checkpoint_id": past["checkpoint_id"]}
    )
    await client.runs.join(thread, run["run_id"])
    assert await contents(client, thread) == first == ["a", "one", "two", "three"]
    [_, fork, *_] = await client.threads.get_history(thread, limit=100)
    assert fork["metadata"]["source"] == "fork"
    assert fork["parent_checkpoint_id"] == past["checkpoint_id"]


async def test_fork_by_update(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    past = (await client.threads.get_history(thread, limit=100))[2]
    assert past["next"] == ["two"]
    edited = {**past["values"]["messages"][1], "content": "ONE"}
    await client.threads.update_state(
        thread, {"messages": [edited]}, checkpoint=past["checkpoint"], as_node="one"
    )
    await client.runs.wait(thread, "slow", input=None)
    assert await contents(client, thread) == ["a", "ONE", "two", "three"]


async def test_pause_and_resume(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "pause", input=human("a"))
    [asked] = values["__interrupt__"]
    assert asked["value"] == {"question": "ok?"} and asked["id"]
    assert list((await listed(client, thread)).values()) == ["success"]
    found = await client.threads.get(thread)
    assert found["status"] == "interrupted"
    [[stored]] = found["interrupts"].values()
    assert stored["id"] == asked["id"] and stored["value"] == asked["value"]
    state = await client.threads.get_state(thread)
    assert state["next"] == ["ask"]
    [task] = state["tasks"]
    assert task["interrupts"][0]["id"] == asked["id"]
    assert list(found["interrupts"]) == [task["id"]]
    assert state["interrupts"][0]["id"] == asked["id"]

    values = await client.runs.wait(thread, "pause", command={"resume": "yes"})
    assert [m["content"] for m in values["messages"]] == ["a", "got yes"]
    after = await client.threads.get(thread)
    assert after["status"] == "idle" and not after["interrupts"]
    assert (await client.threads.get_state(thread))["interrupts"] == []


async def test_resume_with_any_json(client: LangGraphClient, thread: str) -> None:
    answers: list[Any] = ["text", "", "0"]
    for answer in answers:
        await client.runs.wait(thread, "pause", input=human("a"))
        await client.runs.wait(thread, "pause", command={"resume": answer})
    spoken = [text for text in await contents(client, thread) if text != "a"]
    assert spoken == [f"got {answer}" for answer in answers]


async def test_resume_by_id(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "pause_twice", input=human("q"))
    ids = {item["value"]["question"]: item["id"] for item in values["__interrupt__"]}
    assert set(ids) == {"a?", "b?"}
    values = await client.runs.wait(thread, "pause_twice", command={"resume": {ids["b?"]: "yes"}})
    assert [item["id"] for item in values["__interrupt__"]] == [ids["a?"]]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    await client.runs.wait(thread, "pause_twice", command={"resume": {ids["a?"]: "no"}})
    assert await contents(client, thread) == ["q", "a no", "b yes"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_resume_streams_on(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "pause", input=human("a"))
    parts = [
        part
        async for part in client.runs.stream(
            thread, "pause", command={"resume": "yes"}, stream_mode="updates"
        )
        if part.event == "updates"
    ]
    assert [list(part.data) for part in parts] == [["ask"], ["act"]]


async def test_breakpoints(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(
        thread, "slow", input=human("a", delay=0.02), interrupt_before=["two"]
    )
    assert [m["content"] for m in values["messages"]] == ["a", "one"]
    assert list((await listed(client, thread)).values()) == ["success"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    assert (await client.threads.get_state(thread))["next"] == ["two"]
    await client.runs.wait(thread, "slow", input=None, interrupt_after=["two"])
    assert await contents(client, thread) == ["a", "one", "two"]
    await client.runs.wait(thread, "slow", input=None)
    assert await contents(client, thread) == ["a", "one", "two", "three"]


async def test_break_everywhere(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02), interrupt_before="*")
    seen = [(await client.threads.get_state(thread))["next"]]
    while seen[-1]:
        await client.runs.wait(thread, "slow", input=None, interrupt_before="*")
        seen.append((await client.threads.get_state(thread))["next"])
    assert seen == [["one"], ["two"], ["three"], []]


async def test_goto_and_update(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02))
    command = {"goto": "three", "update": {"messages": [{"role": "human", "content": "b"}]}}
    await client.runs.wait(thread, "slow", command=command)
    assert await contents(client, thread) == ["a", "one", "two", "three", "b", "three"]


@pytest.mark.parametrize(("durability", "kept"), [("sync", 5), ("async", 5), ("exit", 1)])
async def test_durability(client: LangGraphClient, thread: str, durability: Any, kept: int) -> None:
    await client.runs.wait(thread, "slow", input=human("a", delay=0.02), durability=durability)
    assert len(await client.threads.get_history(thread, limit=100)) == kept
    assert await contents(client, thread) == ["a", "one", "two", "three"]


async def test_subgraph_state(client: LangGraphClient, thread: str) -> None:
    """A subgraph that was stopped in its middle can be looked into, and goes on from there."""
    run = await client.runs.create(thread, "nested", input=human("a", delay=2))

    async def inner_one_is_done() -> Any:
        state = await client.threads.get_state(thread, subgraphs=True)
        inner = state["tasks"][0]["state"] if state["tasks"] else None
        return inner and inner["next"] == ["inner_two"]

    await until(inner_one_is_done)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    state = await client.threads.get_state(thread)
    assert state["next"] == ["child"]
    [task] = state["tasks"]
    assert task["checkpoint"]["checkpoint_ns"].startswith("child:")
    deep = await client.threads.get_state(thread, subgraphs=True)
    inner = deep["tasks"][0]["state"]
    assert inner["next"] == ["inner_two"]
    assert [m["content"] for m in inner["values"]["messages"]] == ["a", "inner_one"]
    alone = await client.threads.get_state(thread, checkpoint=task["checkpoint"])
    assert alone["next"] == ["inner_two"]
    await client.runs.wait(thread, "nested", input=None)
    assert await contents(client, thread) == ["a", "inner_one", "inner_two", "after"]
