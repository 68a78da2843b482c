"""`RemoteGraph` of langgraph, unmodified."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from support.talk import human

Config = dict[str, Any]


@pytest.fixture
def config(thread: str) -> Config:
    return {"configurable": {"thread_id": thread}}


def remote(graph: str, client: LangGraphClient, sync_client: SyncLangGraphClient) -> RemoteGraph:
    return RemoteGraph(graph, client=client, sync_client=sync_client)


def spoken(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def test_invoke(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("echo", client, sync_client)
    assert spoken(await graph.ainvoke(human("a"), config)) == ["a", "echo: a"]
    # The same from code that knows no event loop.
    assert spoken(graph.invoke(human("b"), config)) == ["a", "echo: a", "b", "echo: b"]


async def test_invoke_without_a_thread(
    client: LangGraphClient, sync_client: SyncLangGraphClient
) -> None:
    graph = remote("echo", client, sync_client)
    assert spoken(await graph.ainvoke(human("a"))) == ["a", "echo: a"]


async def test_stream(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("slow", client, sync_client)
    state = human("a", delay=0.02)
    updates = [part async for part in graph.astream(state, config, stream_mode="updates")]
    assert [list(part) for part in updates] == [["one"], ["two"], ["three"]]
    modes = [
        part[0] async for part in graph.astream(state, config, stream_mode=["values", "updates"])
    ]
    assert modes == ["values"] + ["updates", "values"] * 3


async def test_stream_messages(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("tokens", client, sync_client)
    state = human("a", count=5, rate=200)
    parts = [part async for part in graph.astream(state, config, stream_mode="messages")]
    text = "".join(chunk["content"] for chunk, _ in parts)
    stored = await graph.aget_state(config)
    assert text == stored.values["messages"][-1]["content"]


async def test_stream_of_subgraphs(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("nested", client, sync_client)
    parts = [
        (namespace, list(update))
        async for namespace, update in graph.astream(
            human("a", delay=0.02), config, stream_mode="updates", subgraphs=True
        )
    ]
    inner = [names for namespace, names in parts if namespace]
    outer = [names for namespace, names in parts if not namespace]
    assert inner == [["inner_one"], ["inner_two"]] and outer == [["child"], ["after"]]


async def test_state_and_history(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("slow", client, sync_client)
    await graph.ainvoke(human("a", delay=0.02), config)
    state = await graph.aget_state(config)
    assert spoken(state.values) == ["a", "one", "two", "three"] and state.next == ()
    history = [past async for past in graph.aget_state_history(config, limit=100)]
    assert [past.metadata["step"] for past in history] == [3, 2, 1, 0, -1]
    past = await graph.aget_state(history[2].config)
    assert past.next == ("two",)


async def test_update_state(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("echo", client, sync_client)
    await graph.ainvoke(human("a"), config)
    changed = await graph.aupdate_state(config, human("b"), as_node="echo")
    state = await graph.aget_state(config)
    assert spoken(state.values) == ["a", "echo: a", "b"]
    at = state.config["configurable"]["checkpoint_id"]
    assert changed["configurable"]["checkpoint_id"] == at


async def test_pause_and_resume(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("pause", client, sync_client)
    paused = await graph.ainvoke(human("a"), config)
    assert paused["__interrupt__"][0]["value"] == {"question": "ok?"}
    state = await graph.aget_state(config)
    assert state.next == ("ask",) and state.interrupts[0].value == {"question": "ok?"}
    done = await graph.ainvoke(Command(resume="yes"), config)
    assert spoken(done) == ["a", "got yes"]


async def test_a_failure(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: Config
) -> None:
    graph = remote("fail", client, sync_client)
    with pytest.raises(RemoteException):
        await graph.ainvoke(human("a"), config)


async def test_drawing(client: LangGraphClient, sync_client: SyncLangGraphClient) -> None:
    drawing = await remote("slow", client, sync_client).aget_graph()
    assert {"one", "two", "three"} <= set(drawing.nodes)
    assert drawing.draw_mermaid()
