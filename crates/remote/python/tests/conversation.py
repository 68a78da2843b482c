"""Graphs for tests of storage and states, and how to ask about them."""

from __future__ import annotations

import operator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

import orjson
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from shelf import Host
from typing_extensions import TypedDict

from runloom_executor.line import Line
from runloom_executor.saver import HostSaver
from runloom_executor.store import HostStore

THREAD = "0b5a7d5c-6a3e-4f57-9e0e-3b8f7cbb2b1a"

NULL_TASK = "00000000-0000-0000-0000-000000000000"


class Inner(TypedDict, total=False):
    messages: Annotated[list[Any], operator.add]
    inside: str


def answering() -> StateGraph:
    """Answers each message with its number."""

    def answer(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"answer {len(state['messages'])}", id=f"a{len(state['messages'])}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph


def nested() -> StateGraph:
    """A subgraph that asks before it goes on."""

    def first(state: Inner) -> Any:
        return {"inside": "first"}

    def ask(state: Inner) -> Any:
        return {"inside": interrupt({"question": "go on?"})}

    inner = StateGraph(Inner)
    inner.add_node("first", first)
    inner.add_node("ask", ask)
    inner.add_edge(START, "first")
    inner.add_edge("first", "ask")
    outer = StateGraph(Inner)
    outer.add_node("child", inner.compile())
    outer.add_edge(START, "child")
    return outer


def failing() -> StateGraph:
    """One of two nodes fails."""

    def good(state: Inner) -> Any:
        return {"inside": "good"}

    def bad(state: Inner) -> Any:
        raise ValueError("not today")

    graph = StateGraph(Inner)
    graph.add_node("good", good)
    graph.add_node("bad", bad)
    graph.add_edge(START, "good")
    graph.add_edge(START, "bad")
    return graph


class Table:
    """What graphs are opened from, instead of a deployment's registry."""

    def __init__(self, **graphs: StateGraph) -> None:
        self._graphs = {id: graph.compile() for id, graph in graphs.items()}

    @asynccontextmanager
    async def open(
        self, graph_id: str, *, access: str, config: Any, checkpointer: Any = None, store: Any = None
    ) -> Any:
        yield self._graphs[graph_id].copy(update={"checkpointer": checkpointer, "store": store})


class Scene:
    """A host, and graphs that run with its checkpoints."""

    def __init__(self, host: Host, **graphs: StateGraph) -> None:
        self.host = host
        self.graphs = Table(**graphs)
        self._calls = 0

    def line(self, run: str | None = None, thread: str = THREAD) -> Line:
        """The line of a new call."""
        self._calls += 1
        self.host.calls[self._calls] = (thread, run)
        return Line(self.host.peer, self._calls)

    async def run(self, graph_id: str, input: Any, *, resume: bool | None = None, **more: Any) -> Any:
        """Runs a graph to its end, as an attempt of a new run."""
        line = self.line(run=str(uuid4()))
        resume = input is None or isinstance(input, Command) if resume is None else resume
        saver = HostSaver(line, THREAD, resume=resume)
        config: Any = {"configurable": {"thread_id": THREAD}}
        async with self.graphs.open(
            graph_id, access="", config=config, checkpointer=saver, store=HostStore(line)
        ) as graph:
            try:
                return await graph.ainvoke(input, config, **more)
            finally:
                await line.settle()
                line.close()

    async def ask(self, question: Any, graph_id: str, **body: Any) -> Any:
        """Asks a question as the worker would; JSON comes back decoded."""
        line = self.line()
        whole = {"graph_id": graph_id, "thread_id": THREAD, "ns": "", **body}
        answer = await question(self.graphs, line, whole)
        await line.settle()
        return decoded(answer)

    def leave(self, *messages: dict[str, Any], channel: str = "messages") -> str:
        """Leaves residue on the latest checkpoint, as the worker does when it settles a stop."""
        ns, id = max(key for key in self.host.shelf.checkpoints[THREAD] if key[0] == "")
        row = [NULL_TASK, "~residue", 1000, channel, "json", orjson.dumps(list(messages))]
        self.host.shelf.writes[THREAD, ns, id].append(row)
        return id


def decoded(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return orjson.loads(answer)
    if isinstance(answer, list):
        return [decoded(each) for each in answer]
    if isinstance(answer, dict):
        return {key: decoded(value) for key, value in answer.items()}
    return answer


def said(state: Any) -> list[str]:
    """The texts of the messages of a state."""
    return [message["content"] for message in state["values"]["messages"]]
