"""The checkpointer's manners: what is asked is carried out, what comes too late is refused."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Any

import pytest
import pytest_asyncio
from conversation import THREAD, Inner, Scene, answering, said
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from shelf import Host
from typing_extensions import TypedDict

from runloom_executor.errors import Fenced, Unsupported
from runloom_executor.line import Line
from runloom_executor.saver import HostSaver
from runloom_executor.state import state

pytestmark = pytest.mark.asyncio

AT_ROOT: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}


@pytest_asyncio.fixture
async def host() -> Any:
    async with Host() as host:
        yield host


def saver_of(host: Host, **more: Any) -> HostSaver:
    return HostSaver(Scene(host).line(), THREAD, **more)


def put(saver: HostSaver, checkpoint: Any = None) -> Any:
    return saver.aput(AT_ROOT, checkpoint or empty_checkpoint(), {"source": "loop", "step": 0}, {})


async def test_a_cancelled_write_is_carried_out_and_waited_for(host: Host) -> None:
    saver = saver_of(host)
    host.open.clear()
    writing = asyncio.ensure_future(put(saver))
    await host.waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    settling = asyncio.ensure_future(saver.line.settle())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not settling.done()
    host.open.set()
    await settling
    assert len(host.shelf.checkpoints[THREAD]) == 1


async def test_settling_waits_for_writes_that_fail(host: Host) -> None:
    saver = saver_of(host)
    host.fenced.add(saver.line.call)
    writing = asyncio.ensure_future(put(saver))
    await asyncio.sleep(0)
    await saver.line.settle()
    with pytest.raises(Fenced):
        await writing


async def test_a_closed_line_refuses(host: Host) -> None:
    saver = saver_of(host)
    saver.line.close()
    with pytest.raises(Fenced, match="over"):
        await put(saver)
    with pytest.raises(Fenced, match="over"):
        await asyncio.to_thread(saver.get_tuple, AT_ROOT)
    assert host.asked == []


async def test_a_fence_is_told_at_once_and_once(host: Host) -> None:
    told: list[None] = []
    host.calls[1] = (THREAD, None)
    saver = HostSaver(Line(host.peer, 1, on_fenced=lambda: told.append(None)), THREAD)
    host.fenced.add(1)
    first, second = await asyncio.gather(put(saver), put(saver), return_exceptions=True)
    assert isinstance(first, Fenced) and isinstance(second, Fenced)
    assert saver.line.fenced and told == [None]
    with pytest.raises(Fenced):
        await put(saver)
    assert len(host.asked) == 2, "after the fence nothing is asked any more"


async def test_synchronous_code_in_other_threads(host: Host) -> None:
    saver = saver_of(host)

    def work() -> Any:
        config = saver.put(AT_ROOT, empty_checkpoint(), {"source": "loop", "step": 0}, {})
        saver.put_writes(config, [("log", 1)], "task")
        return saver.get_tuple(AT_ROOT), list(saver.list(AT_ROOT, limit=5))

    found, listed = await asyncio.to_thread(work)
    assert found.pending_writes == [("task", "log", 1)]
    assert [each.config for each in listed] == [found.config]


async def test_other_loops(host: Host) -> None:
    saver = saver_of(host)
    await asyncio.to_thread(lambda: asyncio.run(put(saver)))
    assert len(host.shelf.checkpoints[THREAD]) == 1


async def test_synchronous_code_on_the_loop_is_told_what_to_do(host: Host) -> None:
    saver = saver_of(host)
    with pytest.raises(RuntimeError, match="await"):
        saver.get_tuple(AT_ROOT)
    with pytest.raises(RuntimeError, match="await"):
        list(saver.list(AT_ROOT))


async def test_other_threads_are_out_of_reach(host: Host) -> None:
    saver = saver_of(host)
    with pytest.raises(ValueError, match="out of reach"):
        await saver.aget_tuple({"configurable": {"thread_id": "another"}})
    assert host.asked == []


async def test_what_is_known_of_the_thread_counts_once_and_until_something_is_written(host: Host) -> None:
    def saver_knowing(latest: list[Any]) -> HostSaver:
        return HostSaver(saver_of(host).line, THREAD, latest=latest)

    saver = saver_knowing([])
    assert await saver.aget_tuple(AT_ROOT) is None
    assert host.asked == []
    config = await put(saver)
    latest = host.shelf.answer(THREAD, None, "get_checkpoint", {"ns": ""})
    saver = saver_knowing([latest])
    below = await saver.aget_tuple({"configurable": {"checkpoint_ns": "below:1"}})
    found = await saver.aget_tuple(AT_ROOT)
    assert below is None and found is not None and found.config == config
    assert [method for method, _ in host.asked] == ["put_checkpoint", "get_checkpoint"]
    await saver.aput_writes(config, [("log", 1)], "task")
    for stale in (saver, saver_knowing([])):
        await stale.aput_writes(config, [("log", 2)], "other")
        found = await stale.aget_tuple(AT_ROOT)
        assert found is not None and len(found.pending_writes or []) == 2


async def test_maintenance_is_not_for_runs(host: Host) -> None:
    host.shelf.answer = lambda *_: (_ for _ in ()).throw(Unsupported("prune"))  # type: ignore[method-assign]
    with pytest.raises(Unsupported):
        await saver_of(host).aprune([THREAD])


async def test_versions_grow_and_differ_whatever_the_graph_seeds(host: Host) -> None:
    saver = saver_of(host)
    random.seed(1)
    first = saver.get_next_version(None, None)
    random.seed(1)
    assert first != saver.get_next_version(None, None)
    assert first < saver.get_next_version(first, None)
    assert saver.get_next_version(9, None).startswith("0" * 30 + "10.")


async def test_only_new_values_travel(host: Host) -> None:
    saver = saver_of(host)
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"old": 1, "new": 2}
    checkpoint["channel_versions"] = {"old": "1", "new": "2", "empty": "3"}
    await saver.aput(AT_ROOT, checkpoint, {"source": "loop", "step": 0}, {"new": "2", "empty": "3"})
    _, body = host.asked[-1]
    assert [blob[:2] for blob in body["blobs"]] == [["new", "2"]]
    assert body["versions"] == {"old": "1", "new": "2"}
    assert "channel_values" not in saver.serde.loads_typed(tuple(body["head"]))


async def test_a_checkpoint_is_chosen_by_id_filter_and_before(host: Host) -> None:
    saver = saver_of(host)
    checkpoint = empty_checkpoint()
    at = await put(saver, checkpoint)

    async def listed(**more: Any) -> int:
        return len([each async for each in saver.alist(at, **more)])

    assert await listed() == await listed(filter={"source": "loop"}) == 1
    assert await listed(filter={"source": "input"}) == await listed(before=at) == await listed(limit=0) == 0


def delta_graph(parts: Any) -> StateGraph:
    """A channel whose values are rebuilt from writes, with a snapshot now and then."""
    channel, reducer = parts

    merged = Annotated[list[Any], channel(reducer, snapshot_frequency=5)]
    State = TypedDict("State", {"messages": merged}, total=False)  # noqa: UP013

    async def answer(state: Any) -> Any:
        return {"messages": [AIMessage(f"answer {len(state['messages'])}", id=f"a{len(state['messages'])}")]}

    graph = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph


@pytest.fixture
def delta(host: Host) -> Scene:
    module = pytest.importorskip("langgraph.channels.delta")
    from langgraph.graph.message import add_messages

    def reducer(left: Any, right: Any) -> Any:
        for each in right:
            left = add_messages(left, each)
        return left

    return Scene(host, delta=delta_graph((module.DeltaChannel, reducer)))


def hello(text: str, id: str) -> Any:
    return {"messages": [{"role": "user", "content": text, "id": id}]}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_values_that_are_rebuilt_from_writes(delta: Scene, durability: str) -> None:
    wanted = []
    for number in range(6):
        await delta.run("delta", hello(f"hi {number}", f"h{number}"), durability=durability)
        wanted += [f"hi {number}", f"answer {2 * number + 1}"]
        assert said(await delta.ask(state, "delta")) == wanted


async def test_a_long_walk_takes_few_requests(delta: Scene) -> None:
    for number in range(30):
        await delta.run("delta", hello(f"hi {number}", f"h{number}"))
    asked = len(delta.host.asked)
    line = delta.line()
    saver = HostSaver(line, THREAD)
    found = await saver.aget_delta_channel_history(config=AT_ROOT, channels=["unknown"])
    assert found == {"unknown": {"writes": []}}
    assert len(delta.host.shelf.checkpoints[THREAD]) == 90
    assert len(delta.host.asked) - asked < 12


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_residue_of_values_that_are_rebuilt(delta: Scene, durability: str) -> None:
    """What a resume left out does not come back, and what a new input built upon stays."""
    partial = {"type": "ai", "content": "half", "id": "p1"}
    await delta.run("delta", hello("one", "h1"), interrupt_before=["answer"], durability=durability)
    delta.leave(partial)
    assert said(await delta.ask(state, "delta")) == ["one", "half"]
    await delta.run("delta", None, durability=durability)
    assert said(await delta.ask(state, "delta")) == ["one", "answer 1"]
    await delta.run("delta", hello("two", "h2"), interrupt_before=["answer"], durability=durability)
    delta.leave({**partial, "id": "p2"})
    await delta.run("delta", hello("three", "h3"), durability=durability)
    assert said(await delta.ask(state, "delta")) == ["one", "answer 1", "two", "half", "three", "answer 5"]


async def test_strict_reviving_shares_the_line(host: Host) -> None:
    saver = saver_of(host)
    clone = getattr(saver, "with_allowlist", lambda _: saver)([("some.module", "Type")])
    await put(clone)
    assert len(host.shelf.checkpoints[THREAD]) == 1


async def test_a_run_of_synchronous_code_inside_a_node(host: Host) -> None:
    inner = answering().compile(checkpointer=True)

    def speak(state: Inner) -> Any:
        return inner.invoke(state)

    graph = StateGraph(Inner)
    graph.add_node("speak", speak)
    graph.add_edge(START, "speak")
    scene = Scene(host, outer=graph)
    result = await scene.run("outer", hello("hi", "h1"))
    assert result["messages"][-1].content == "answer 1"
    assert {ns for ns, _ in host.shelf.checkpoints[THREAD]} == {"", "speak"}
