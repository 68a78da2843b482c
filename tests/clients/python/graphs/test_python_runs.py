"""What Python graphs do through the server: runs, streams, states, pauses, subgraphs."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from support.conversation import kinds, violations
from support.overheard import Overheard
from support.talk import contents, human, listed, run_status, state_messages, until

QUICK = "hello [tokens=4 rate=0]"
SEARCH = "hello [call=search preface=2 tokens=4 rate=0]"


async def collected(client: LangGraphClient, thread: str, graph: str, **more: Any) -> list[Any]:
    stream = client.runs.stream(thread, graph, **more)
    return [(part.event, part.data) async for part in stream]


async def test_wait_and_join(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "assistant", input=human(SEARCH))
    assert kinds(values["messages"]) == ["human", "ai", "tool", "ai"]
    assert values["messages"][-1]["content"] == "word1 word2 word3 end."
    [call] = values["messages"][1]["tool_calls"]
    assert call["name"] == "search" and call["args"] == {"query": SEARCH, "seconds": 0.0}
    run = await client.runs.create(thread, "assistant", input=human(QUICK))
    joined = await client.runs.join(thread, run["run_id"])
    assert len(joined["messages"]) == 6 and not violations(joined["messages"])
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_stateless(client: LangGraphClient) -> None:
    values = await client.runs.wait(None, "assistant", input=human(QUICK))
    assert kinds(values["messages"]) == ["human", "ai"]


async def test_values_and_updates(client: LangGraphClient, thread: str) -> None:
    parts = await collected(
        client, thread, "research", input=human("rome [tokens=2 rate=0]"),
        stream_mode=["values", "updates"],
    )
    words = [event for event, _ in parts]
    assert words == ["metadata", "values", "updates", "values", "updates", "values"]
    updates = [data for event, data in parts if event == "updates"]
    assert [list(update) for update in updates] == [["look_up"], ["writer"]]
    assert updates[0]["look_up"]["findings"] == ["rome: word1 word2 end."]
    assert kinds(parts[-1][1]["messages"]) == ["human", "ai"]


async def test_tokens(client: LangGraphClient, thread: str) -> None:
    """Each token once, in order, under one id, with what it belongs to."""
    parts = await collected(
        client, thread, "assistant", input=human(SEARCH), stream_mode="messages-tuple"
    )
    chunks = [data for event, data in parts if event == "messages"]
    text, ids = "", []
    for chunk, metadata in chunks:
        assert metadata["langgraph_node"] and "langgraph_step" in metadata
        if chunk["type"] == "AIMessageChunk":
            text += chunk["content"]
            ids.append(chunk["id"])
    assert text == "word1 end.word1 word2 word3 end."
    messages = await state_messages(client, thread)
    assert list(dict.fromkeys(ids)) == [messages[1]["id"], messages[3]["id"]]


async def test_whole_messages(client: LangGraphClient, thread: str) -> None:
    """The older form: metadata first, then the message as far as it has come."""
    parts = await collected(
        client, thread, "assistant", input=human(QUICK), stream_mode="messages"
    )
    words = [event for event, _ in parts if event != "metadata"]
    assert words[0] == "messages/metadata" and "messages/partial" in words
    partial = [data[0]["content"] for event, data in parts if event == "messages/partial"]
    assert partial[-1] == "word1 word2 word3 end."
    assert all(later.startswith(earlier) for earlier, later in zip(partial, partial[1:]))


async def test_tasks_checkpoints_debug(client: LangGraphClient, thread: str) -> None:
    parts = await collected(
        client, thread, "slow", input=human("a", delay=0),
        stream_mode=["tasks", "checkpoints", "debug"],
    )
    tasks = [data for event, data in parts if event == "tasks"]
    begun = [task["name"] for task in tasks if "input" in task]
    done = [task["name"] for task in tasks if "result" in task]
    assert begun == done == ["one", "two", "three"]
    checkpoints = [data for event, data in parts if event == "checkpoints"]
    assert [point["metadata"]["step"] for point in checkpoints] == [-1, 0, 1, 2, 3]
    assert checkpoints[-1]["next"] == []
    debug = [data for event, data in parts if event == "debug"]
    assert {entry["type"] for entry in debug} == {"task", "task_result", "checkpoint"}


async def test_custom_events(client: LangGraphClient, thread: str) -> None:
    parts = await collected(client, thread, "custom", input=human("a"), stream_mode="custom")
    assert [data for event, data in parts if event == "custom"] == [{"n": n} for n in range(3)]


async def test_events(client: LangGraphClient, thread: str) -> None:
    parts = await collected(
        client, thread, "assistant", input=human(QUICK), stream_mode=["events", "values"]
    )
    events = [data for event, data in parts if event == "events"]
    names = [event["event"] for event in events]
    assert names[0] == "on_chain_start" and "on_chat_model_stream" in names
    said = [
        event["data"]["chunk"]["content"]
        for event in events
        if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(said) == "word1 word2 word3 end."
    assert [data for event, data in parts if event == "values"]
    assert kinds(await state_messages(client, thread)) == ["human", "ai"]


async def test_subgraphs_stream(client: LangGraphClient, thread: str) -> None:
    run = Overheard(client, thread, "research", human("rome, oslo [tokens=3 rate=0]"))
    await run.ended()
    inner = [name for name, _ in run.updates("look_up")]
    assert sorted(inner) == ["fetch", "fetch", "summarize", "summarize"]
    assert [name for name, _ in run.updates("writer")] == ["outline", "compose"]
    [text] = [text for text in run.texts("writer").values() if text]
    assert text == "word1 word2 end."


async def test_a_person_decides(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "approval", input=human(QUICK))
    [pause] = values["__interrupt__"]
    assert pause["value"] == {"action": "send", "draft": "word1 word2 word3 end."}
    state = await client.threads.get_state(thread)
    assert state["next"] == ["review"]
    assert state["tasks"][0]["interrupts"] == state["interrupts"] == [pause]
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert [pause] in shown["interrupts"].values()
    values = await client.runs.wait(thread, "approval", command={"resume": "better"})
    assert values["messages"][-1]["content"] == "Sent: better"
    await client.runs.wait(thread, "approval", input=human(QUICK))
    values = await client.runs.wait(thread, "approval", command={"resume": "reject"})
    assert values["messages"][-1]["content"] == "I did not send it."


async def test_two_questions_answered_by_id(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "pause_twice", input=human("q"))
    answers = {pause["id"]: pause["value"]["question"] for pause in values["__interrupt__"]}
    values = await client.runs.wait(thread, "pause_twice", command={"resume": answers})
    assert sorted(message["content"] for message in values["messages"]) == ["a a?", "b b?", "q"]


async def test_breakpoints(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(
        thread, "assistant", input=human(SEARCH), interrupt_before=["tools"]
    )
    assert (await client.threads.get_state(thread))["next"] == ["tools"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    values = await client.runs.wait(thread, "assistant", input=None)
    assert kinds(values["messages"]) == ["human", "ai", "tool", "ai"]


async def test_history_and_fork(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "assistant", input=human(SEARCH))
    history = await client.threads.get_history(thread, limit=100)
    assert [state["metadata"]["step"] for state in history] == [3, 2, 1, 0, -1]
    before_tools = next(state for state in history if state["next"] == ["tools"])
    values = await client.runs.wait(
        thread, "assistant", input=None, checkpoint=before_tools["checkpoint"]
    )
    assert kinds(values["messages"]) == ["human", "ai", "tool", "ai"]
    longer = await client.threads.get_history(thread, limit=100)
    assert len(longer) > len(history), "a fork adds to the history"


async def test_update_state(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "assistant", input=human(QUICK))
    better = {**values["messages"][1], "content": "better"}
    await client.threads.update_state(thread, {"messages": [better]})
    assert await contents(client, thread) == [QUICK, "better"]
    state = await client.threads.get_state(thread)
    assert state["metadata"]["source"] == "update"


async def test_state_of_a_subgraph(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(
        thread, "research", input=human("oslo [slow=oslo:30]"), durability="sync"
    )

    async def fetching() -> Any:
        # A subgraph is seen before it has taken its input, too.
        state = await client.threads.get_state(thread, subgraphs=True)
        inner = [task["state"] for task in state["tasks"] if task.get("state")]
        return [state for state in inner if state["next"] == ["fetch"]]

    [state] = await until(fetching)
    assert state["values"]["topic"] == "oslo"
    await client.runs.cancel(thread, run["run_id"], wait=True)


async def test_schemas_and_drawing(client: LangGraphClient) -> None:
    [assistant] = await client.assistants.search(graph_id="approval")
    assert "asks a person" in assistant["description"]
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    assert {"messages", "draft"} <= set(schemas["state_schema"]["properties"])
    drawing = await client.assistants.get_graph("research", xray=True)
    ids = {str(node["id"]) for node in drawing["nodes"]}
    assert {"writer:compose", "look_up:fetch"} <= ids
    assert drawing["edges"]
    subgraphs = await client.assistants.get_subgraphs("research")
    assert set(subgraphs) == {"look_up", "writer"}


async def test_an_assistant_of_ones_own(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create(
        "as_configured", config={"configurable": {"colour": "blue"}}
    )
    values = await client.runs.wait(thread, made["assistant_id"], input=human("a"))
    assert values["messages"][-1]["content"] == "colour blue"
    await client.assistants.delete(made["assistant_id"])


@pytest.mark.parametrize(
    ("graph", "answer"),
    [
        ("as_builder", "builder"),
        ("as_function", "function"),
        ("as_configured", "colour none"),
        ("as_coroutine", "coroutine"),
        ("as_context", "context"),
        ("as_async_context", "async context"),
    ],
)
async def test_every_form_of_a_graph(
    client: LangGraphClient, thread: str, graph: str, answer: str
) -> None:
    values = await client.runs.wait(thread, graph, input=human("a"))
    assert [message["content"] for message in values["messages"]] == ["a", answer]
    assert await contents(client, thread) == ["a", answer]
    assert len(await client.threads.get_history(thread)) == 3


async def test_the_functional_api(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.wait(thread, "as_function_api", input={"numbers": [1, 2]})
    assert first == {"doubled": [2, 4], "previous": None}
    second = await client.runs.wait(thread, "as_function_api", input={"numbers": [3]})
    assert second["doubled"] == [6] and second["previous"]["doubled"] == [2, 4]


async def test_the_store(client: LangGraphClient, thread: str) -> None:
    who = {"configurable": {"who": thread}}
    for text in ("x", "y"):
        values = await client.runs.wait(thread, "remembers", input=human(text), config=who)
    said = [message["content"] for message in values["messages"]]
    assert said == ["x", "1, first: x", "sync: 1", "y", "2, first: x", "sync: 2"]
    found = await client.store.search_items(["asked", thread])
    assert sorted(item["value"]["text"] for item in found["items"]) == ["x", "y"]


async def test_context_and_environment(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(
        thread, "context", input=human("a"), context={"name": "Ada"}
    )
    assert values["messages"][-1]["content"] == "Ada, from the project"


async def test_a_checkpointer_of_ones_own_is_replaced(
    client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "stranger", input=human("a"))
    await client.runs.wait(thread, "stranger", input=human("b"))
    assert await contents(client, thread) == ["a", "1: a", "b", "3: b"]
    assert len(await client.threads.get_history(thread)) == 6


async def test_prints_and_logs_disturb_nobody(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "chatter", input=human("a", count=1024))
    assert values["messages"][-1]["content"] == "said"


async def test_a_broken_graph_says_why(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "broken", input=human("a"))
    values = await client.runs.join(thread, run["run_id"])
    assert await run_status(client, thread, run["run_id"]) == "error"
    assert "a_package_that_nobody_has" in str(values) + str(
        await client.runs.get(thread, run["run_id"])
    )


async def test_a_refusal_of_the_provider_fails_the_run(
    client: LangGraphClient, thread: str
) -> None:
    values = await client.runs.wait(
        thread,
        "assistant",
        input={"messages": [{"role": "ai", "content": "I begin."}]},
        raise_error=False,
    )
    assert values["__error__"]["error"] == "BadRequest"
    assert (await client.threads.get(thread))["status"] == "error"
    assert list((await listed(client, thread)).values()) == ["error"]


@pytest.fixture
def config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


async def test_remote_graph(
    client: LangGraphClient, sync_client: SyncLangGraphClient, config: dict[str, Any]
) -> None:
    graph = RemoteGraph("approval", client=client, sync_client=sync_client)
    parts = [part async for part in graph.astream(human(QUICK), config, stream_mode="updates")]
    assert [list(part)[0] for part in parts] == ["write", "__interrupt__"]
    state = await graph.aget_state(config)
    assert state.next == ("review",) and state.interrupts[0].value["action"] == "send"
    done = await graph.ainvoke(Command(resume="approve"), config)
    assert done["messages"][-1]["content"] == "Sent: word1 word2 word3 end."
    assert len([past async for past in graph.aget_state_history(config, limit=100)]) == 5
    drawing = await graph.aget_graph()
    assert {"write", "review", "send"} <= set(drawing.nodes)
    sync = RemoteGraph("assistant", client=client, sync_client=sync_client)
    assert kinds(sync.invoke(human(QUICK))["messages"]) == ["human", "ai"]
