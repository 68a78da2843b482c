"""What the twins share: their state, and messages that name their author."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages


class State(TypedDict, total=False):
    """The state of all of them."""

    messages: Annotated[list, add_messages]
    delay: float
    count: int
    rate: float
    answer: Any


def asked(state: State) -> str:
    """What the human said last."""
    said = (m.content for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
    return next(said, "")


def says(content: str) -> dict:
    """Appends an AI message."""
    return {"messages": [AIMessage(content)]}


def signed(name: str) -> dict:
    """Appends an AI message that names its author."""
    return {"messages": [AIMessage(name, name=name)]}


def takes(name: str, usual: float):
    """A node that takes the delay, or `usual` seconds, and signs with its name."""

    async def node(state: State) -> dict:
        await asyncio.sleep(state.get("delay", usual))
        return signed(name)

    return node


def chain(**nodes: Any) -> Any:
    """A graph of nodes that follow each other."""
    graph = StateGraph(State)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    return graph.compile()
