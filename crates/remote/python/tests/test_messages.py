"""Chat messages in both of their forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.faithful import GRAPHS, input_of
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from runloom_executor.events import EventMapper
from runloom_executor.messages import Accumulated, Pieces
from runloom_executor.said import Speech

METADATA = {"langgraph_checkpoint_ns": "model:task-1", "langgraph_node": "model"}


def accumulated(*messages: Any, namespace: tuple[str, ...] = ()) -> list[tuple[str, Any, Any]]:
    form = Accumulated(Speech("messages", frozenset()))
    return read(event for message in messages for event in form.map(namespace, message, METADATA))


def read(events: Iterator[list[Any]]) -> list[tuple[str, Any, Any]]:
    return [(name, json.loads(data), said and said[3]) for name, _, data, said in events]


def test_pieces_are_shown_as_the_message_so_far() -> None:
    got = accumulated(AIMessageChunk("Hel", id="m"), AIMessageChunk("lo", id="m"))
    assert [name for name, *_ in got] == ["messages/metadata", "messages/partial", "messages/partial"]
    assert got[0][1] == {"m": {"metadata": METADATA}}
    assert [data[0]["content"] for _, data, _ in got[1:]] == ["Hel", "Hello"]
    assert {data[0]["type"] for _, data, _ in got[1:]} == {"ai"}
    assert [said for *_, said in got] == [None, "Hel", "lo"]


def test_messages_in_turns_do_not_mix() -> None:
    pieces = [("a", "m"), ("x", "n"), ("b", "m"), ("y", "n")]
    got = accumulated(*(AIMessageChunk(text, id=id) for text, id in pieces))
    partial = [data[0]["content"] for name, data, _ in got if name == "messages/partial"]
    assert partial == ["a", "x", "ab", "xy"]
    assert [list(data) for name, data, _ in got if name == "messages/metadata"] == [["m"], ["n"]]


def test_tool_calls_grow_as_langchain_merges_them() -> None:
    def piece(arguments: str, **more: Any) -> AIMessageChunk:
        call = {"name": None, "id": None, "index": 0, "type": "tool_call_chunk", "args": arguments, **more}
        return AIMessageChunk("", id="m", tool_call_chunks=[call])

    got = accumulated(piece('{"a":', name="f", id="c"), piece(" 1"), piece("}"))
    calls = [data[0]["tool_calls"][0] for name, data, _ in got if name == "messages/partial"]
    assert [call["args"] for call in calls] == [{}, {"a": 1}, {"a": 1}]
    assert {said for *_, said in got} == {None}


def test_messages_that_come_whole() -> None:
    got = accumulated(ToolMessage("done", id="t", tool_call_id="c"), AIMessage("all", id="m"))
    assert [name for name, *_ in got] == ["messages/metadata", "messages/complete"] * 2
    assert [said for *_, said in got] == [None, None, None, "all"]
    assert got[1][1][0]["type"] == "tool"


def test_pieces_carry_their_metadata() -> None:
    form = Pieces(Speech("messages", frozenset()))
    other = {**METADATA, "langgraph_step": 2, "set": {1}}
    got = [
        *form.map(("child:t",), AIMessageChunk("Hel", id="m"), METADATA),
        *form.map((), AIMessageChunk("lo", id="m"), METADATA),
        *form.map((), AIMessage("all", id="n"), other),
    ]
    assert [event[:2] for event in got] == [["messages", ("child:t",)], ["messages", ()], ["messages", ()]]
    assert [data[1] for _, data, _ in read(iter(got))] == [METADATA, METADATA, {**other, "set": [1]}]
    assert [data[0]["type"] for _, data, _ in read(iter(got))] == ["AIMessageChunk", "AIMessageChunk", "ai"]


@pytest.mark.parametrize("form", [Pieces, Accumulated])
def test_what_is_no_message_does_no_harm(form: Any) -> None:
    events = form(Speech("messages", frozenset())).map((), {"event": "message-start"}, METADATA)
    assert all(said is None for *_, said in events)


@pytest.mark.parametrize("name", ["agent", "thinking", "whole", "writing", "nested", "guided", "silent"])
async def test_the_last_form_of_each_message_is_that_of_the_state(name: str) -> None:
    facts = SimpleNamespace(messages_channel="messages", shared_subgraph_nodes=frozenset())
    mapper = EventMapper(["messages"], False, facts)
    graph = GRAPHS[name].copy(update={"checkpointer": InMemorySaver()})
    config = {"configurable": {"thread_id": "t"}}
    metadata, last = [], {}
    modes = mapper.stream_modes()
    async for chunk in graph.astream(input_of(name), config, stream_mode=modes, subgraphs=False):
        for event, namespace, data, _ in mapper.map(chunk):
            assert namespace == ()
            shown = json.loads(data)
            if event == "messages/metadata":
                metadata += shown
            else:
                [message] = shown
                assert message["id"] in metadata
                last[message["id"]] = message["content"]
    state = (await graph.aget_state(config)).values["messages"]
    assert last == {message.id: message.content for message in state[1:]}
    assert sorted(metadata) == sorted(last), "told once of each"
