"""Questions about states, and changes of them, against what LangGraph's own checkpointer says."""

from typing import Any

import orjson
import pytest
import pytest_asyncio
from conversation import THREAD, Inner, Scene, answering, failing, nested, said
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from pydantic import BaseModel
from shelf import Host
from typing_extensions import TypedDict

from runloom_executor.drawing import drawing
from runloom_executor.errors import Invalid
from runloom_executor.schemas import schemas, subgraphs
from runloom_executor.state import history, state
from runloom_executor.updates import update_state

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def host() -> Any:
    async with Host() as host:
        yield host


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host, answering=answering(), nested=nested(), failing=failing())


def hello(text: str = "hello", id: str = "h1") -> Any:
    return {"messages": [{"role": "user", "content": text, "id": id}]}


def partial(text: str) -> Any:
    return {"type": "ai", "content": text, "id": "p1"}


async def update(scene: Scene, graph_id: str, *updates: Any, **body: Any) -> Any:
    steps = [[{key: orjson.dumps(value) if key != "as_node" else value for key, value in updates[0].items()}]]
    for more in updates[1:]:
        steps.append([{key: orjson.dumps(v) if key != "as_node" else v for key, v in more.items()}])
    return await scene.ask(update_state, graph_id, supersteps=steps, **body)


async def test_a_thread_without_checkpoints_has_no_state(scene: Scene) -> None:
    assert await scene.ask(state, "answering") is None
    assert await scene.ask(history, "answering", limit=10) == []


async def test_an_unknown_checkpoint_has_no_state(scene: Scene) -> None:
    await scene.run("answering", hello())
    assert await scene.ask(state, "answering", checkpoint_id="1f000000-0000-6000-8000-000000000000") is None


async def test_a_state_has_all_fields_of_the_wire(scene: Scene) -> None:
    await scene.run("answering", hello())
    found = await scene.ask(state, "answering")
    assert set(found) == {
        *("values", "next", "tasks", "metadata", "created_at"),
        *("checkpoint", "parent_checkpoint", "interrupts"),
    }
    assert said(found) == ["hello", "answer 1"]
    assert [message["type"] for message in found["values"]["messages"]] == ["human", "ai"]
    assert (found["next"], found["tasks"], found["interrupts"]) == ([], [], [])
    assert set(found["checkpoint"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    assert found["checkpoint"]["thread_id"] == THREAD
    assert found["parent_checkpoint"]["checkpoint_id"] < found["checkpoint"]["checkpoint_id"]
    assert found["metadata"]["source"] == "loop"
    assert found["metadata"]["step"] == 1
    assert found["metadata"]["thread_id"] == THREAD


async def test_states_are_what_langgraph_says_of_them(scene: Scene) -> None:
    """The same run on LangGraph's checkpointer in memory: the same states, but for ids and times."""
    plain = nested().compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": THREAD}}
    given = {"messages": ["one"]}
    await plain.ainvoke(given, config)
    await scene.run("nested", given)
    wanted = await plain.aget_state(config)
    found = await scene.ask(state, "nested")
    assert found["values"] == wanted.values
    assert found["next"] == list(wanted.next) == ["child"]
    (task,) = found["tasks"]
    (waiting,) = wanted.tasks
    assert set(task) == {"id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"}
    assert task["name"] == waiting.name
    assert task["path"] == list(waiting.path)
    assert task["interrupts"] == found["interrupts"]
    assert [each["value"] for each in task["interrupts"]] == [{"question": "go on?"}]
    assert set(task["interrupts"][0]) == {"value", "id"}
    assert task["checkpoint"] == {"thread_id": THREAD, "checkpoint_ns": f"child:{task['id']}"}
    assert task["state"] is None and task["result"] is None and task["error"] is None


async def test_states_of_subgraphs_on_request(scene: Scene) -> None:
    await scene.run("nested", {"messages": ["one"]})
    (task,) = (await scene.ask(state, "nested", subgraphs=True))["tasks"]
    assert task["checkpoint"] is None
    assert task["state"]["values"]["inside"] == "first"
    assert task["state"]["next"] == ["ask"]
    assert task["state"]["checkpoint"]["checkpoint_ns"] == f"child:{task['id']}"
    assert set(task["state"]["checkpoint"]["checkpoint_map"]) == {"", f"child:{task['id']}"}
    by_namespace = await scene.ask(state, "nested", ns=f"child:{task['id']}")
    assert by_namespace == task["state"]


async def test_a_failed_task_says_why(scene: Scene) -> None:
    with pytest.raises(ValueError, match="not today"):
        await scene.run("failing", {"messages": []})
    found = await scene.ask(state, "failing")
    tasks = {task["name"]: task for task in found["tasks"]}
    assert tasks["bad"]["error"] == "ValueError('not today')"
    assert tasks["bad"]["result"] is None


async def test_history_is_newest_first_and_pages(scene: Scene) -> None:
    await scene.run("answering", hello())
    await scene.run("answering", hello("again", "h2"))
    states = await scene.ask(history, "answering", limit=10)
    assert [each["metadata"]["step"] for each in states] == [4, 3, 2, 1, 0, -1]
    assert said(states[0]) == ["hello", "answer 1", "again", "answer 3"]
    third = states[2]["checkpoint"]["checkpoint_id"]
    page = await scene.ask(history, "answering", limit=2, before=third)
    assert page == states[3:5]
    inputs = await scene.ask(history, "answering", limit=9, metadata=b'{"source":"input"}')
    assert inputs == [states[2], states[5]]
    assert await scene.ask(history, "answering", limit=9, checkpoint_id=third) == [states[2]]
    at_third = await scene.ask(state, "answering", checkpoint_id=third)
    assert at_third == states[2]


async def test_history_of_more_than_a_page(scene: Scene) -> None:
    for number in range(30):
        await scene.run("answering", hello(str(number), f"h{number}"))
    states = await scene.ask(history, "answering", limit=1000)
    assert [each["metadata"]["step"] for each in states] == list(range(88, -2, -1))
    assert len(await scene.ask(history, "answering", limit=70)) == 70


async def test_an_update_writes_a_checkpoint_and_says_the_head(scene: Scene) -> None:
    await scene.run("answering", hello())
    before = await scene.ask(state, "answering")
    head = await update(
        scene, "answering", {"values": hello("more", "h2"), "as_node": "answer"}, metadata=b'{"by":"me"}'
    )
    after = await scene.ask(state, "answering")
    assert set(head) == {"checkpoint_id", "values", "next", "interrupts"}
    assert head["checkpoint_id"] == after["checkpoint"]["checkpoint_id"]
    assert head["values"] == after["values"] and head["next"] == [] and head["interrupts"] == {}
    assert said(after) == ["hello", "answer 1", "more"]
    assert after["metadata"]["source"] == "update" and after["metadata"]["by"] == "me"
    assert after["parent_checkpoint"] == before["checkpoint"]


async def test_an_update_starts_a_thread(scene: Scene) -> None:
    head = await update(scene, "answering", {"values": hello(), "as_node": "__start__"})
    assert head["next"] == ["answer"]
    assert said(await scene.ask(state, "answering")) == ["hello"]


async def test_updates_in_several_supersteps(scene: Scene) -> None:
    head = await update(
        scene,
        "answering",
        {"values": hello(), "as_node": "__start__"},
        {"values": {"messages": [partial("an answer")]}, "as_node": "answer"},
    )
    assert head["next"] == []
    assert said(head) == ["hello", "an answer"]
    assert len(await scene.ask(history, "answering", limit=10)) == 2


async def test_an_update_from_an_earlier_checkpoint_forks(scene: Scene) -> None:
    await scene.run("answering", hello())
    states = await scene.ask(history, "answering", limit=10)
    waiting = next(each for each in states if each["next"] == ["answer"])
    fork = waiting["checkpoint"]["checkpoint_id"]
    values = {"messages": [partial("another")]}
    head = await update(scene, "answering", {"values": values, "as_node": "answer"}, checkpoint_id=fork)
    assert said(head) == await texts_of_a_fork(values)
    after = await scene.ask(state, "answering")
    assert after["parent_checkpoint"]["checkpoint_id"] == fork


async def texts_of_a_fork(values: Any) -> list[str]:
    """What LangGraph's own checkpointer makes of it: older versions keep what the old branch had written."""
    plain = answering().compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": THREAD}}
    await plain.ainvoke(hello(), config)
    waiting = [each async for each in plain.aget_state_history(config) if each.next == ("answer",)]
    await plain.aupdate_state(waiting[0].config, values, as_node="answer")
    return [message.content for message in (await plain.aget_state(config)).values["messages"]]


async def test_an_update_of_a_subgraph(scene: Scene) -> None:
    await scene.run("nested", {"messages": ["one"]})
    (task,) = (await scene.ask(state, "nested"))["tasks"]
    ns = f"child:{task['id']}"
    head = await update(scene, "nested", {"values": {"inside": "changed"}, "as_node": "first"}, ns=ns)
    assert head["next"] == ["child"], "the head is the root graph's"
    inner = await scene.ask(state, "nested", ns=ns)
    assert inner["values"]["inside"] == "changed"
    assert list(head["interrupts"]) == [task["id"]]


async def test_a_command_as_update(scene: Scene) -> None:
    await scene.run("answering", hello())
    command = {"update": hello("by command", "h2"), "goto": "answer"}
    head = await update(scene, "answering", {"command": command, "as_node": "answer"})
    assert said(head) == ["hello", "answer 1", "by command"]
    assert head["next"] == ["answer"]


async def test_an_update_without_values_marks_a_node_as_done(scene: Scene) -> None:
    await update(scene, "answering", {"values": hello(), "as_node": "__input__"})
    await scene.run("answering", None, interrupt_before=["answer"])
    assert (await scene.ask(state, "answering"))["next"] == ["answer"]
    head = await update(scene, "answering", {"values": None, "as_node": "answer"})
    assert head["next"] == [] and said(head) == ["hello"]


@pytest.mark.parametrize(
    "change",
    [
        {"values": hello(), "as_node": "nobody"},
        {"values": {"messages": [{"no": "message"}]}, "as_node": "answer"},
    ],
)
async def test_an_update_that_does_not_fit_is_invalid(scene: Scene, change: Any) -> None:
    await scene.run("answering", hello())
    with pytest.raises(Invalid):
        await update(scene, "answering", change)
    with pytest.raises(Invalid):
        await update(scene, "answering", {"values": hello(), "as_node": "answer"}, checkpoint_id="1f00")


async def stopped(scene: Scene) -> str:
    """A thread whose run was stopped while it answered."""
    await update(scene, "answering", {"values": hello(), "as_node": "__input__"})
    await scene.run("answering", None, interrupt_before=["answer"])
    return scene.leave(partial("half an"))


async def test_residue_is_part_of_the_state(scene: Scene) -> None:
    await stopped(scene)
    found = await scene.ask(state, "answering")
    assert said(found) == ["hello", "half an"]
    assert found["next"] == ["answer"]


async def test_a_new_input_builds_upon_residue(scene: Scene) -> None:
    await stopped(scene)
    await scene.run("answering", hello("and now?", "h2"))
    assert said(await scene.ask(state, "answering")) == ["hello", "half an", "and now?", "answer 3"]


async def test_a_resume_leaves_residue_out(scene: Scene) -> None:
    await stopped(scene)
    await scene.run("answering", None)
    assert said(await scene.ask(state, "answering")) == ["hello", "answer 1"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"values": hello("new", "h2"), "as_node": "answer"}, ["hello", "half an", "new"]),
        ({"values": hello("new", "h2")}, ["hello", "half an", "new"]),
        ({"values": None, "as_node": "answer"}, ["hello", "half an"]),
        ({"values": None, "as_node": "__end__"}, ["hello", "half an"]),
        ({"values": {"messages": partial("replaced")}, "as_node": "answer"}, ["hello", "replaced"]),
        ({"command": {"update": hello("new", "h2")}, "as_node": "answer"}, ["hello", "half an", "new"]),
        ({"command": {"goto": "answer"}, "as_node": "answer"}, ["hello", "half an"]),
    ],
)
async def test_an_update_takes_residue_over(scene: Scene, change: Any, wanted: list[str]) -> None:
    await stopped(scene)
    head = await update(scene, "answering", change)
    assert said(head) == wanted
    assert said(await scene.ask(state, "answering")) == wanted


async def test_an_update_as_input_takes_residue_along(scene: Scene) -> None:
    await stopped(scene)
    await update(scene, "answering", {"values": hello("new", "h2"), "as_node": "__input__"})
    await scene.run("answering", None)
    assert said(await scene.ask(state, "answering"))[:3] == ["hello", "half an", "new"]


async def test_a_drawing(scene: Scene) -> None:
    drawn = await scene.ask(drawing, "nested", xray=0)
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "child", "__end__"]
    assert {"source": "__start__", "target": "child"} in drawn["edges"]
    unfolded = await scene.ask(drawing, "nested", xray=1)
    assert {"child:first", "child:ask"} <= {node["id"] for node in unfolded["nodes"]}


async def test_schemas(scene: Scene) -> None:
    found = await scene.ask(schemas, "nested")
    assert set(found) == {
        *("input_schema", "output_schema", "state_schema"),
        *("config_schema", "context_schema"),
    }
    for name in ("input_schema", "output_schema", "state_schema"):
        assert set(found[name]["properties"]) == {"messages", "inside"}, name
    assert found["state_schema"]["title"] == Inner.__name__
    assert found["config_schema"] is None and found["context_schema"] is None
    ((namespace, inner),) = await scene.ask(subgraphs, "nested", recurse=True)
    assert namespace == "child"
    assert set(inner["state_schema"]["properties"]) == {"messages", "inside"}


async def test_schemas_of_what_a_graph_declares(host: Host) -> None:
    class Settings(BaseModel):
        model: str = "small"

    class Odd(TypedDict):
        made: object
        plain: int

    graph = StateGraph(Odd, context_schema=Settings)
    graph.add_node("node", lambda state: None)
    graph.add_edge(START, "node")
    scene = Scene(host, declared=graph)
    found = await scene.ask(schemas, "declared")
    assert found["context_schema"]["properties"]["model"]["default"] == "small"
    assert set(found["config_schema"]["properties"]) == {"model"}
    assert await scene.ask(schemas, "declared") == found


async def test_a_schema_without_a_json_form_is_null(host: Host) -> None:
    class Opaque:
        pass

    class Holding(TypedDict):
        it: Opaque

    graph = StateGraph(Holding)
    graph.add_node("node", lambda state: None)
    graph.add_edge(START, "node")
    found = await Scene(host, opaque=graph).ask(schemas, "opaque")
    assert found["input_schema"] is None


async def test_a_resumed_interrupt(scene: Scene) -> None:
    await scene.run("nested", {"messages": ["one"]})
    result = await scene.run("nested", Command(resume="yes"))
    assert result["inside"] == "yes"
    assert (await scene.ask(state, "nested"))["next"] == []
