"""Graphs say through this package what they say without it."""

from __future__ import annotations

import json
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio
from fixtures.faithful import GRAPHS, answer_to, input_of
from fixtures.plays import plainly, play, recorded, steady
from worker import PROJECT, Worker, working

from runloom_executor.events import EventMapper

WIRE_MODES = ["values", "updates", "custom", "tasks", "messages-tuple"]
FACTS = SimpleNamespace(messages_channel="messages", shared_subgraph_nodes=frozenset({"child"}))
SAYS_INTERRUPTS = int(version("langgraph").split(".")[0]) >= 1
"""Earlier ones leave the interrupts out of the values, which is then corrected."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


def the_same(name: str) -> str:
    if not SAYS_INTERRUPTS and answer_to(name) is not None:
        pytest.skip("values without interrupts are corrected")
    return name


async def mapped(graph: Any, given: Any, config: Any, subgraphs: bool = True) -> Any:
    mapper = EventMapper(WIRE_MODES, subgraphs, FACTS)
    modes, heard = mapper.stream_modes(), mapper.listening(graph, config)
    async for chunk in heard.astream(given, config, stream_mode=modes, subgraphs=subgraphs):
        for event, namespace, data, _ in mapper.map(chunk):
            yield [event, namespace, json.loads(data)]
    assert mapper.finish() == []
    await agrees_with_the_state(mapper, graph, config)


async def agrees_with_the_state(mapper: EventMapper, graph: Any, config: Any) -> None:
    state = await graph.aget_state(config)
    head = mapper.head()
    if head is None:
        assert state.next
    else:
        assert head["checkpoint_id"] == state.config["configurable"]["checkpoint_id"]
        assert (head["next"], json.loads(head["interrupts"])) == ([], {})


@pytest.mark.parametrize("name", GRAPHS)
async def test_langgraph_says_what_it_said(name: str) -> None:
    """Fails when LangGraph changes what it says, which clients will see. Then look, and record again."""
    versions, plays = recorded()
    if any(version(package) != was for package, was in versions.items()):
        pytest.skip("recorded with other versions")
    assert await play(name, plainly) == plays[name]


@pytest.mark.parametrize("subgraphs", [True, False])
@pytest.mark.parametrize("name", GRAPHS)
async def test_mapping_changes_nothing(name: str, subgraphs: bool) -> None:
    def stream(how: Any) -> Any:
        return lambda graph, given, config: how(graph, given, config, subgraphs)

    assert await play(the_same(name), stream(mapped)) == await play(name, stream(plainly))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    async with working({name: f"./faithful.py:{name}" for name in GRAPHS}, root=PROJECT) as worker:
        yield worker


async def executed(worker: Worker, name: str) -> dict[str, Any]:
    """The same play, in an executor."""
    asked = {"stream_modes": WIRE_MODES, "subgraphs": True}
    attempts = [worker.run(name, input_of(name), **asked)]
    ends = [await attempts[0].end()]
    if (answer := answer_to(name)) is not None:
        thread = attempts[0].thread_id
        attempts.append(worker.run(name, thread_id=thread, command={"resume": answer}, **asked))
        ends.append(await attempts[1].end())
        assert [end["outcome"] for end in ends] == ["paused", "success"]
    error = ends[-1].get("error")
    state = await worker.state(attempts[-1])
    events = [[*event[:2], json.loads(event[2])] for each in attempts for event in each.events]
    return steady(
        {
            "events": events,
            "error": [error["type"], error["message"]] if error else None,
            "values": state["values"],
            "next": state["next"],
        }
    )


@pytest.mark.parametrize("name", GRAPHS)
async def test_executing_changes_nothing(worker: Worker, name: str) -> None:
    assert await executed(worker, the_same(name)) == await play(name, plainly)
