"""The events of a graph, mode by mode."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.faithful import GRAPHS, answer_to, input_of
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from runloom_executor.events import EventMapper

FACTS = SimpleNamespace(messages_channel="messages", shared_subgraph_nodes=frozenset({"child"}))
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


def mapper(*modes: str, subgraphs: bool = False) -> EventMapper:
    return EventMapper(modes, subgraphs, FACTS)


async def play(name: str, *modes: str, subgraphs: bool = False, **more: Any) -> list[tuple[str, Any]]:
    """The events of a run: `(name|namespace…, payload)`."""
    return (await play_on(fresh(name), input_of(name), *modes, subgraphs=subgraphs, **more))[0]


def fresh(name: str) -> Any:
    return GRAPHS[name].copy(update={"checkpointer": InMemorySaver()})


async def play_on(
    graph: Any, given: Any, *modes: str, subgraphs: bool = False, **more: Any
) -> tuple[list[tuple[str, Any]], EventMapper]:
    made = mapper(*modes, subgraphs=subgraphs)
    config = {**CONFIG}
    graph = made.listening(graph, config)
    arguments = {"stream_mode": made.stream_modes(), "subgraphs": subgraphs, **more}
    events = []
    if made.wants_events:
        async for event in graph.astream_events(given, config, version="v2", **arguments):
            events += made.map_event(event)
    else:
        async for chunk in graph.astream(given, config, **arguments):
            events += made.map(chunk)
    events += made.finish()
    return [("|".join((event, *namespace)), json.loads(data)) for event, namespace, data, _ in events], made


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in events]


def payloads(events: list[tuple[str, Any]], name: str) -> list[Any]:
    return [payload for event, payload in events if event == name]


def test_models_stream_only_if_somebody_listens() -> None:
    assert "messages" not in mapper("values", "updates", "events", "debug").stream_modes()
    assert "messages" in mapper("messages").stream_modes()
    assert "messages" in mapper("messages-tuple").stream_modes()
    graph = fresh("agent")
    assert mapper("values").listening(graph, {}) is graph
    assert mapper("messages").listening(graph, {}) is not graph


def test_nodes_are_tasks_of_their_own_and_the_head_is_known_whatever_is_asked() -> None:
    assert set(mapper("values").stream_modes()) == {"values", "custom", "checkpoints"}
    assert set(mapper().stream_modes()) == {"custom", "checkpoints"}


class Counter(BaseCallbackHandler):
    def __init__(self) -> None:
        self.models = 0

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.models += 1


@pytest.mark.parametrize("managed", [False, True])
async def test_callbacks_of_the_graph_are_called_all_the_same(managed: bool) -> None:
    counter = Counter()
    callbacks: Any = [counter]
    if managed:
        callbacks = AsyncCallbackManager(handlers=[], inheritable_handlers=[counter])
    graph = fresh("thinking").with_config(callbacks=callbacks)
    for modes in (["values"], ["messages"]):
        await play_on(graph, input_of("thinking"), *modes)
    assert counter.models == 2


async def test_only_what_was_asked_for_is_said() -> None:
    for mode in ("values", "updates", "custom", "tasks", "checkpoints", "debug"):
        assert set(names(await play("writing", mode))) == {mode}
    assert await play("writing") == []
    assert set(names(await play("writing", "messages-tuple", "messages"))) == {"messages"}


async def test_events_of_subgraphs_are_only_said_if_asked_for() -> None:
    alone = await play("nested", "updates")
    assert set(names(alone)) == {"updates"}
    graph, made = fresh("nested"), mapper("updates", "messages")
    modes = made.stream_modes()
    async for chunk in graph.astream(input_of("nested"), CONFIG, stream_mode=modes, subgraphs=True):
        assert all(namespace == () for _, namespace, *_ in made.map(chunk))
    children = [name for name in names(await play("nested", "updates", subgraphs=True)) if name != "updates"]
    assert [name.split(":")[0] for name in children] == ["updates|child", "updates|caller"]


async def test_a_pause_is_said_in_updates_and_in_values() -> None:
    """In LangGraph before 1.0, too."""
    for modes in (["values"], ["values", "updates"], ["values", "tasks", "debug"]):
        events = await play("pausing", *modes)
        values = payloads(events, "values")
        [paused] = [value for value in values if "__interrupt__" in value]
        assert paused["items"] == []
        assert paused["__interrupt__"][0]["value"] == {"question": "name?"}
        assert values[-1] == {"items": ["beside"]}
        [told] = [update for update in payloads(events, "updates") if "__interrupt__" in update] or [paused]
        assert told["__interrupt__"] == paused["__interrupt__"]


def test_values_of_a_pause_that_langgraph_leaves_out_are_added() -> None:
    def values(*chunks: Any) -> list[Any]:
        made = mapper("values", "updates")
        events = [event for chunk in chunks for event in made.map(chunk)] + made.finish()
        return [json.loads(data) for name, _, data, _ in events if name == "values"]

    before, update = ("values", {"a": 1}), ("updates", {"__interrupt__": ["asked"]})
    paused = {"a": 1, "__interrupt__": ["asked"]}
    assert values(before, update) == [{"a": 1}, paused], "nothing comes after it"
    assert values(before, update, ("updates", {"other": {}})) == [{"a": 1}, paused]
    assert values(before, update, ("custom", 1), ("values", {"a": 2})) == [{"a": 1}, paused, {"a": 2}]
    assert values(before, update, ("values", paused)) == [{"a": 1}, paused], "not said twice"
    assert values(before, ("values", {"__interrupt__": ["asked"]})) == [{"a": 1}, paused], "state is added"
    assert values(before, ("updates", {"__interrupt__": []})) == [{"a": 1}], "a breakpoint"


async def test_a_breakpoint() -> None:
    events = await play("agent", "values", "updates", interrupt_before=["tools"])
    assert payloads(events, "updates")[-1] == {"__interrupt__": []}
    assert all("__interrupt__" not in value for value in payloads(events, "values"))


async def test_checkpoints_of_debug_events_name_each_other() -> None:
    events = await play("moving", "debug", "checkpoints", subgraphs=True)
    debug = [event["payload"] for event in payloads(events, "debug") if event["type"] == "checkpoint"]
    plain = payloads(events, "checkpoints")
    assert [checkpoint["checkpoint"]["checkpoint_id"] for checkpoint in debug] == [
        checkpoint["config"]["configurable"]["checkpoint_id"] for checkpoint in plain
    ]
    assert debug[0]["parent_checkpoint"] is None
    assert debug[1]["parent_checkpoint"] == debug[0]["checkpoint"]
    assert set(debug[0]["checkpoint"]) == {"checkpoint_id", "thread_id", "checkpoint_ns"}
    assert all("checkpoint" not in checkpoint for checkpoint in plain)
    [task] = debug[2]["tasks"]
    assert task["checkpoint"] == {"thread_id": "t", "checkpoint_ns": f"inner:{task['id']}"}
    assert "state" not in task and plain[2]["tasks"][0]["state"]
    inner = next(event["payload"] for name, event in events if name.startswith("debug|"))
    assert "checkpoint_map" in inner["checkpoint"]
    assert not [key for key in inner["config"]["configurable"] if key.startswith("__pregel")]


async def test_the_mode_events_is_served_beside_the_others() -> None:
    events = await play("agent", "events", "values", "messages-tuple", "custom")
    told = payloads(events, "events")
    assert (told[0]["event"], told[-1]["event"]) == ("on_chain_start", "on_chain_end")
    assert {"on_chat_model_stream", "on_tool_start", "on_tool_end"} <= {event["event"] for event in told}
    root = told[0]["run_id"]
    assert "on_chain_stream" not in {event["event"] for event in told if event["run_id"] == root}
    assert {"event", "name", "run_id", "data", "metadata", "tags", "parent_ids"} <= set(told[0])
    plain = await play("agent", "values", "messages-tuple", "custom")
    assert [name for name in names(events) if name != "events"] == names(plain)
    assert payloads(events, "custom") == payloads(plain, "custom") == [{"asking": "Rome"}]


async def test_the_mode_events_alone() -> None:
    assert set(names(await play("nested", "events", subgraphs=True))) == {"events"}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("modes", [["values"], ["debug", "events"]])
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "failing"])
async def test_the_head_is_where_the_run_left_off(name: str, modes: list[str], durability: str) -> None:
    graph = fresh(name)
    _, made = await play_on(graph, input_of(name), *modes, subgraphs=True, durability=durability)
    if answer_to(name) is not None:
        assert made.head() is None
        _, made = await play_on(graph, Command(resume=answer_to(name)), *modes, durability=durability)
    head = made.head()
    state = await graph.aget_state(CONFIG)
    assert head is not None
    assert head["checkpoint_id"] == state.config["configurable"]["checkpoint_id"]
    values = json.dumps(state.values, default=lambda other: other.model_dump())
    assert json.loads(head["values"]) == json.loads(values)
    assert (head["next"], head["interrupts"]) == (list(state.next), b"{}")


def test_the_head_is_the_root_graphs() -> None:
    def checkpoint(id: str, *next: str) -> dict[str, Any]:
        return {"config": {"configurable": {"checkpoint_id": id}}, "values": {}, "next": [*next]}

    made = mapper("values", subgraphs=True)
    assert made.head() is None
    made.map(((), "checkpoints", checkpoint("1", "node")))
    made.map((("node:t",), "checkpoints", checkpoint("2")))
    assert made.head() is None
    made.map(((), "checkpoints", checkpoint("3")))
    made.map((("node:t",), "checkpoints", checkpoint("4")))
    assert made.head() == {"checkpoint_id": "3", "values": b"{}", "next": [], "interrupts": b"{}"}
