"""Runs of Python graphs stopped at every place: what stays, what the next turn sees, what goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from points import POINTS, Point
from support.conversation import kinds, violations
from support.overheard import Overheard, text_of
from support.server import ServerProcess
from support.talk import (
    human,
    listed,
    new_thread,
    options,
    reaches,
    run_status,
    state_messages,
)

at_every_point = pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
in_every_durability = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


async def stopped_at(
    client: LangGraphClient, other: LangGraphClient, thread: str, point: Point, **more: Any
) -> Overheard:
    """A run that was cancelled at a point."""
    run = Overheard(client, thread, point.graph, point.input(), **more)
    await run.hears(point.reached)
    await other.runs.cancel(thread, run.run_id, wait=True)
    await run.ended()
    return run


def half_said(run: Overheard, point: Point, messages: list[dict[str, Any]]) -> str:
    """What was heard of an answer that was not finished, without those that the state has whole."""
    whole = {message["id"] for message in messages if "interrupted" not in extras(message)}
    texts = run.texts(point.below)
    return "".join(text for ident, text in texts.items() if ident not in whole).rstrip()


def extras(message: dict[str, Any]) -> dict[str, Any]:
    return message.get("additional_kwargs") or {}


def check_left(
    messages: list[dict[str, Any]], run: Overheard, point: Point, run_id: str
) -> None:
    """What stands in the conversation of a run that was stopped."""
    assert kinds(messages) == list(point.left)
    assert not violations(messages) or not point.for_a_provider
    marked = [message for message in messages if "interrupted" in extras(message)]
    if not point.speaks:
        assert not marked
        return
    [message] = marked
    assert message is messages[-1]
    assert message["content"] == half_said(run, point, messages) != ""
    assert message["id"] in run.texts(point.below), "clients replace by id"
    assert message["response_metadata"]["finish_reason"] == "interrupted"
    assert extras(message)["interrupted"]["run_id"] == run_id
    assert not message.get("tool_calls") and not message.get("invalid_tool_calls")


@at_every_point
@in_every_durability
async def test_what_a_stop_leaves_and_a_new_message_sees(
    client: LangGraphClient,
    other_client: LangGraphClient,
    thread: str,
    point: Point,
    durability: Any,
) -> None:
    run = Overheard(client, thread, point.graph, point.input(), durability=durability)
    await run.hears(point.reached)
    last = await other_client.runs.create(
        thread, point.graph, input=point.again(), multitask_strategy="interrupt"
    )
    await run.ended()
    await other_client.runs.join(thread, last["run_id"])
    assert await listed(other_client, thread) == {
        run.run_id: "interrupted",
        last["run_id"]: "success",
    }
    messages = await state_messages(other_client, thread)
    before, after = messages[: len(point.left)], messages[len(point.left) :]
    check_left(before, run, point, run.run_id)
    assert after[0]["type"] == "human" and after[0]["content"].startswith("again")
    assert not violations(messages) or not point.for_a_provider
    stored = await other_client.runs.get(thread, run.run_id)
    assert stored["superseded_by"] == last["run_id"]
    if point.speaks:
        kept = [text_of(message) for message in stored["interrupted_output"]]
        assert before[-1]["content"] in kept


@at_every_point
@in_every_durability
async def test_a_stopped_run_goes_on(
    client: LangGraphClient,
    other_client: LangGraphClient,
    thread: str,
    point: Point,
    durability: Any,
) -> None:
    run = await stopped_at(client, other_client, thread, point, durability=durability)
    state = await other_client.threads.get_state(thread)
    check_left(state["values"]["messages"], run, point, run.run_id)
    assert set(state["next"]) <= set(point.following) and len(state["next"]) == 1
    assert (await other_client.threads.get(thread))["status"] == "interrupted"
    values = await other_client.runs.wait(thread, point.graph, input=None)
    assert kinds(values["messages"]) == list(point.whole), "nothing half stands beside the whole"
    assert not any("interrupted" in extras(message) for message in values["messages"])
    if point.speaks:
        assert values["messages"][-1]["content"].endswith("end.")
    if point.name == "one of two branches done":
        assert [finding.split(":")[0] for finding in values["findings"]] == ["rome", "oslo"]


@at_every_point
@in_every_durability
async def test_a_rollback_leaves_no_trace(
    client: LangGraphClient,
    other_client: LangGraphClient,
    thread: str,
    point: Point,
    durability: Any,
) -> None:
    await client.runs.wait(thread, point.graph, input=point.again("kept"))
    before = await client.threads.get_state(thread, subgraphs=True)
    history = await client.threads.get_history(thread, limit=1000)
    run = Overheard(client, thread, point.graph, point.input(), durability=durability)
    await run.hears(point.reached)
    await other_client.runs.cancel(thread, run.run_id, wait=True, action="rollback")
    await run.ended()
    assert await run_status(other_client, thread, run.run_id) == "gone"
    assert await other_client.threads.get_state(thread, subgraphs=True) == before
    assert await other_client.threads.get_history(thread, limit=1000) == history
    await other_client.runs.wait(thread, point.graph, input=point.again())
    assert len(await listed(other_client, thread)) == 2


@at_every_point
async def test_what_the_strict_profile_leaves(
    client: LangGraphClient, other_client: LangGraphClient, thread: str, point: Point
) -> None:
    """Exactly what the published server leaves; and then some threads take no message any more."""
    strict = {"config": options(profile="strict")}
    run = await stopped_at(client, other_client, thread, point, **strict)
    state = await other_client.threads.get_state(thread)
    messages = state["values"]["messages"]
    assert kinds(messages) == list(point.left_strictly)
    assert set(state["next"]) <= set(point.following)
    stored = await other_client.runs.get(thread, run.run_id)
    if point.speaks:
        said = "".join(text_of(message) for message in stored["interrupted_output"])
        assert half_said(run, point, messages) in said, "the run's own record keeps it"
    # What finished in the stopped step is lost to a new message; so is a repair that was not made.
    turn = await other_client.runs.create(thread, point.graph, input=point.again(), **strict)
    await other_client.runs.join(thread, turn["run_id"])
    wedged = point.name in ("in a tool", "one of two tools done")
    status = await run_status(other_client, thread, turn["run_id"])
    assert status == ("error" if wedged else "success")


async def test_text_from_inside_a_branch_is_not_kept(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    """A summary streams from a subgraph that does not share the conversation."""
    question = human("rome, oslo [slow=oslo:5]")
    run = Overheard(client, thread, "research", question)
    await run.hears(lambda run: len(run.chunks("look_up")) >= 3)
    await other_client.runs.cancel(thread, run.run_id, wait=True)
    await run.ended()
    assert kinds(await state_messages(other_client, thread)) == ["human"]


async def test_a_burst_of_messages_is_kept(client: LangGraphClient, thread: str) -> None:
    runs = []
    for number in range(6):
        runs.append(
            await client.runs.create(
                thread,
                "assistant",
                input=human(f"{number} [tokens={3 if number == 5 else 400} rate=20]"),
                multitask_strategy="interrupt",
            )
        )
    await client.runs.join(thread, runs[-1]["run_id"])
    statuses = await listed(client, thread)
    assert [statuses[run["run_id"]] for run in runs] == ["interrupted"] * 5 + ["success"]
    messages = await state_messages(client, thread)
    asked = [message["content"][0] for message in messages if message["type"] == "human"]
    assert asked == list("012345")
    assert not violations(messages)


async def test_reject_and_enqueue(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "assistant", input=human("a [tokens=9 rate=9]"))
    with pytest.raises(Exception, match="already running"):
        await client.runs.create(
            thread, "assistant", input=human("b"), multitask_strategy="reject"
        )
    second = await client.runs.create(thread, "assistant", input=human("c [tokens=2]"))
    await client.runs.join(thread, second["run_id"])
    assert await listed(client, thread) == {
        first["run_id"]: "success",
        second["run_id"]: "success",
    }
    assert kinds(await state_messages(client, thread)) == ["human", "ai", "human", "ai"]


async def test_a_stop_while_it_waits_for_a_person(client: LangGraphClient, thread: str) -> None:
    """Nothing runs any more: a new message takes the place of the answer."""
    await client.runs.wait(thread, "approval", input=human("a [tokens=2 rate=0]"))
    assert (await client.threads.get(thread))["status"] == "interrupted"
    await client.runs.wait(
        thread, "approval", input=human("b [tokens=3 rate=0]"), multitask_strategy="interrupt"
    )
    values = await client.runs.wait(thread, "approval", command={"resume": "approve"})
    said = [message["content"] for message in values["messages"]]
    assert said == ["a [tokens=2 rate=0]", "b [tokens=3 rate=0]", "Sent: word1 word2 end."]


async def test_update_state_keeps_what_was_half_said(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    point = POINTS[0]
    run = await stopped_at(client, other_client, thread, point)
    [following] = (await other_client.threads.get_state(thread))["next"]
    await other_client.threads.update_state(thread, human("a note"), as_node=following)
    messages = await state_messages(other_client, thread)
    assert kinds(messages) == ["human", "ai", "human"]
    assert messages[1]["content"] == half_said(run, point, messages)


async def test_a_fork_before_a_stop_knows_nothing_of_it(
    client: LangGraphClient, other_client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "assistant", input=human("first [tokens=2 rate=0]"))
    before = (await client.threads.get_state(thread))["checkpoint"]
    await stopped_at(client, other_client, thread, POINTS[0])
    values = await other_client.runs.wait(
        thread, "assistant", input=human("other [tokens=2 rate=0]"), checkpoint=before
    )
    said = [message["content"].split()[0] for message in values["messages"]]
    assert said == ["first", "word1", "other", "word1"]


async def test_a_run_out_of_time(launch: Callable[..., ServerProcess]) -> None:
    """As an interrupt, but for the status: what was said is in the state, and for the next turn."""
    client = launch("--run-timeout", "3", memory=True).server.client()
    thread = await new_thread(client)
    run = Overheard(client, thread, "assistant", human("a [tokens=400 rate=20]"))
    await run.hears(lambda run: bool(run.run_id))
    assert await reaches(client, thread, run.run_id, "timeout") == "timeout"
    await asyncio.wait([run.task])
    assert (await client.threads.get(thread))["status"] == "error"
    messages = await state_messages(client, thread)
    assert kinds(messages) == ["human", "ai"]
    assert messages[1]["content"] == half_said(run, POINTS[0], messages)
    values = await client.runs.wait(thread, "assistant", input=human("b [tokens=2 rate=0]"))
    assert kinds(values["messages"]) == ["human", "ai", "human", "ai"]
    await client.aclose()

