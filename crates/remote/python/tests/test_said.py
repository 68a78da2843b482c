"""Which text may be kept, and from whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.faithful import Speaker, chat
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolCallChunk, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from runloom_executor.events import EventMapper
from runloom_executor.graphs import GraphFacts, _examined
from runloom_executor.said import Speech, speaker_in, text_of

ROOT = {"langgraph_checkpoint_ns": "model:task-1", "langgraph_node": "model"}


def speech(shared: frozenset[str] = frozenset()) -> Speech:
    return Speech("messages", shared)


def test_a_piece_says_its_text() -> None:
    said = speech()
    assert said.of(AIMessageChunk("Hel", id="m"), ROOT) == ["task-1", "model", "m", "Hel"]
    assert said.of(AIMessageChunk("lo", id="m"), ROOT) == ["task-1", "model", "m", "lo"]
    assert said.of(AIMessageChunk("", id="m"), ROOT) is None


def test_a_whole_message_says_all_of_it_but_nothing_a_second_time() -> None:
    said = speech()
    assert said.of(AIMessage("all", id="m"), ROOT) == ["task-1", "model", "m", "all"]
    assert said.of(AIMessage("all", id="m"), ROOT) is None
    said.of(AIMessageChunk("piece", id="n"), ROOT)
    assert said.of(AIMessage("piece", id="n"), ROOT) is None


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("x", id="m"),
        ToolMessage("x", id="m", tool_call_id="c"),
        AIMessage("x"),
        AIMessageChunk("", id="m", tool_call_chunks=[ToolCallChunk(name="f", args="{", id="c", index=0)]),
        AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}], id="m"),
    ],
)
def test_what_is_no_speech(message: Any) -> None:
    assert speech().of(message, ROOT) is None


def test_a_summary_of_the_conversation_is_no_speech() -> None:
    assert speech().of(AIMessageChunk("x", id="m"), {**ROOT, "lc_source": "summarization"}) is None


def test_a_graph_without_a_conversation_says_nothing() -> None:
    said = Speech(None, frozenset())
    assert said.listener is None
    assert said.of(AIMessage("x", id="m"), ROOT) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("text", "text"),
        (["a", {"type": "text", "text": "b", "index": 1}], "ab"),
        ([{"type": "reasoning", "reasoning": "no"}, {"type": "text", "text": "yes"}], "yes"),
        ([{"type": "tool_use", "input": "no"}, {"type": "input_json_delta", "text": "no"}], ""),
        ([{"type": "text"}, {"type": "text", "text": None}, {"text": "no"}, 1], ""),
        (None, ""),
    ],
)
def test_the_text_of_content(content: Any, text: str) -> None:
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("namespace", "shared", "speaker"),
    [
        ("model:t", set(), ("t", "model")),
        ("a:b:t", set(), ("t", "a:b")),
        ("child:t|speak:u", {"child"}, ("t", "child")),
        ("child:t|speak:u", set(), None),
        ("child:t|speak:u", {"speak"}, None),
        ("child:t|1|speak:u", {"child"}, None),
        ("outer:t|inner:u|speak:v", {"outer"}, None),
        ("outer:t|inner:u|speak:v", {"outer", "outer|inner"}, ("t", "outer")),
        ("", {""}, None),
        ("model", set(), None),
    ],
)
def test_who_speaks(namespace: str, shared: set[str], speaker: Any) -> None:
    assert speaker_in(namespace, frozenset(shared)) == speaker


# With real graphs.

FORMS = ["messages", "messages-tuple", "messages events"]

SCHEMA = {"title": "Answer", "type": "object", "properties": {"a": {"type": "integer"}}}


async def heard(
    graph: StateGraph, form: str, subgraphs: bool = True, shared: frozenset[str] = frozenset()
) -> Any:
    """Who said what, by message, and the ids of the state's messages."""
    facts = SimpleNamespace(messages_channel="messages", shared_subgraph_nodes=shared)
    mapper = EventMapper(form.split(), subgraphs, facts)
    config = {"configurable": {"thread_id": "t"}}
    compiled = mapper.listening(graph.compile(checkpointer=InMemorySaver()), config)
    given = {"messages": [HumanMessage("hi", id="h")]}
    texts: dict[tuple[str, str], str] = {}
    arguments = {"stream_mode": mapper.stream_modes(), "subgraphs": subgraphs}
    if mapper.wants_events:
        stream, read = compiled.astream_events(given, config, version="v2", **arguments), mapper.map_event
    else:
        stream, read = compiled.astream(given, config, **arguments), mapper.map
    async for chunk in stream:
        for *_, said in read(chunk):
            if said is not None:
                _, node, message, text = said
                texts[node, message] = texts.get((node, message), "") + text
    state = (await compiled.aget_state(config)).values["messages"]
    return texts, {message.id: message for message in state if message.type == "ai"}


def speaking(model: Any) -> StateGraph:
    async def speak(state: MessagesState) -> Any:
        answer = await model.ainvoke(state["messages"])
        return {"messages": [answer if isinstance(answer, AIMessage) else AIMessage("done", id="done")]}

    graph = StateGraph(MessagesState)
    graph.add_node("speak", speak)
    graph.add_edge(START, "speak")
    return graph


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "model",
    [Speaker(), Speaker(streams=False), Speaker(thinks=True), Speaker().with_config(tags=["nostream"])],
    ids=["streams", "whole", "thinks", "nostream"],
)
async def test_what_is_said_is_what_the_state_has_in_the_end(model: Any, form: str) -> None:
    texts, state = await heard(speaking(model), form)
    assert texts == {("speak", id): "Hello dear reader" for id in state}
    assert len(state) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "bound",
    [
        {"ls_structured_output_format": {"kwargs": {"method": "json_schema"}, "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_schema": {"type": "object"}},
    ],
)
async def test_structured_output_is_no_speech(bound: dict[str, Any], form: str) -> None:
    model = Speaker(words=['{"a":', " 1}"]).bind(**bound) | (lambda message: message.content)
    texts, _ = await heard(speaking(model), form)
    assert texts == {("speak", "done"): "done"}


async def test_an_ordinary_format_is_speech() -> None:
    model = Speaker().bind(response_format={"type": "text"})
    texts, _ = await heard(speaking(model), "messages-tuple")
    assert list(texts.values()) == ["Hello dear reader"]


@tool
async def advisor(city: str) -> str:
    """A model inside a tool."""
    answer = await (Speaker(words=["inside"]) | (lambda message: message)).ainvoke([HumanMessage(city)])
    return answer.content


@tool
async def delegate(city: str) -> str:
    """A graph inside a tool."""
    answer = await chat(Speaker(words=["inside"])).ainvoke({"messages": [HumanMessage(city)]})
    return answer["messages"][-1].content


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inner", [advisor, delegate], ids=["model", "graph"])
async def test_what_a_tool_hears_is_not_said(inner: Any, form: str) -> None:
    model = Speaker().bind_tools([inner])
    graph = speaking(model)
    graph.add_node("tools", ToolNode([inner]))
    graph.add_conditional_edges("speak", tools_condition)
    graph.add_edge("tools", "speak")
    # Even if the node were held to be a graph that shares the conversation.
    texts, state = await heard(graph, form, shared=frozenset({"tools"}))
    assert sorted(texts.values()) == ["Hello dear reader", "Let me"]
    assert {id for _, id in texts} == set(state)


async def test_a_subgraph_of_a_subgraph_speaks_for_the_root_graphs_node() -> None:
    inner = StateGraph(MessagesState)
    inner.add_node("inner", chat(Speaker(words=["one", " two"])))
    inner.add_edge(START, "inner")
    graph = StateGraph(MessagesState)
    graph.add_node("outer", inner.compile())
    graph.add_edge(START, "outer")
    facts = _examined(GraphFacts("graph"), graph.compile())
    assert facts.shared_subgraph_nodes == {"outer", "outer|inner"}
    texts, state = await heard(graph, "messages-tuple", shared=facts.shared_subgraph_nodes)
    assert texts == {("outer", id): "one two" for id in state}
    assert (await heard(graph, "messages-tuple", shared=frozenset({"outer"})))[0] == {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shared", [frozenset(), frozenset({"child"})])
async def test_a_subgraph_speaks_for_its_node_if_it_shares_the_conversation(form: str, shared: Any) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("child", chat(Speaker(words=["one", " two"])))
    graph.add_edge(START, "child")
    texts, state = await heard(graph, form, shared=shared)
    assert texts == ({("child", id): "one two" for id in state} if shared else {})
    # Not asked for its events, clients see the message when the node returns it.
    texts, state = await heard(graph, form, subgraphs=False, shared=shared)
    assert texts == {("child", id): "one two" for id in state}
