"""A graph that was compiled with a checkpointer of its own: the server's takes its place."""

from __future__ import annotations

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from twins.common import State, asked, says


async def count(state: State) -> dict:
    return says(f"{len(state['messages'])}: {asked(state)}")


graph = (
    StateGraph(State)
    .add_node("count", count)
    .add_edge(START, "count")
    .compile(checkpointer=InMemorySaver())
)
