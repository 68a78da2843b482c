"""A graph that is told who asks, by its context, and reads its project's environment."""

from __future__ import annotations

import os
from typing import TypedDict

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from twins.common import State, says


class Caller(TypedDict, total=False):
    """Who asks."""

    name: str


async def greet(state: State, runtime: Runtime[Caller]) -> dict:
    name = (runtime.context or {}).get("name", "nobody")
    return says(f"{name}, {os.environ.get('SERVED_SETTING')}")


graph = (
    StateGraph(State, context_schema=Caller)
    .add_node("greet", greet)
    .add_edge(START, "greet")
    .compile()
)
