"""The strict profile is plain LangGraph: the same stops, in this process and through the server."""

from __future__ import annotations

from typing import Any

import pytest
from in_process import Plain, in_short, load, spoken
from langgraph_sdk.client import LangGraphClient
from points import POINTS, Point
from support.overheard import Overheard
from support.talk import options, run_status, state_messages

STRICT = {"config": options(profile="strict")}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
async def test_a_stop_and_the_next_message(
    client: LangGraphClient,
    other_client: LangGraphClient,
    thread: str,
    point: Point,
    durability: Any,
) -> None:
    graph, config = load(point.graph), {"configurable": {"thread_id": "plain"}}
    plain = Plain(graph, config, point.input(), durability)
    await plain.hears(point.reached)
    await plain.stop()
    expected, following = await spoken(graph, config)

    run = Overheard(
        client, thread, point.graph, point.input(), durability=durability, **STRICT
    )
    await run.hears(point.reached)
    await other_client.runs.cancel(thread, run.run_id, wait=True)
    await run.ended()
    state = await other_client.threads.get_state(thread)
    assert in_short(state["values"]["messages"]) == in_short(expected)
    assert state["next"] == following

    try:
        await graph.ainvoke(point.again(), config)
        outcome = "success"
    except Exception:
        outcome = "error"
    turn = await other_client.runs.create(
        thread, point.graph, input=point.again(), durability=durability, **STRICT
    )
    await other_client.runs.join(thread, turn["run_id"])
    assert await run_status(other_client, thread, turn["run_id"]) == outcome
    expected, following = await spoken(graph, config)
    assert in_short(await state_messages(other_client, thread)) == in_short(expected)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
async def test_going_on(
    client: LangGraphClient, other_client: LangGraphClient, thread: str, point: Point
) -> None:
    """A resume is the same with and without what Runloom keeps beside."""
    graph, config = load(point.graph), {"configurable": {"thread_id": "plain"}}
    plain = Plain(graph, config, point.input(), "async")
    await plain.hears(point.reached)
    await plain.stop()
    await graph.ainvoke(None, config)
    expected, _ = await spoken(graph, config)

    run = Overheard(client, thread, point.graph, point.input())
    await run.hears(point.reached)
    await other_client.runs.cancel(thread, run.run_id, wait=True)
    await run.ended()
    values = await other_client.runs.wait(thread, point.graph, input=None)
    assert in_short(values["messages"]) == in_short(expected)
