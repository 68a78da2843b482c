"""Graphs that differ in how their nodes follow each other."""

from __future__ import annotations

import json

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from twins.common import State, asked, chain, says, signed, takes


async def _echo(state: State) -> dict:
    return says(f"echo: {asked(state)}")


async def _left(state: State) -> dict:
    return signed("left")


async def _join(state: State) -> dict:
    return signed("join")


async def _spin(state: State) -> dict:
    return {}


async def _show(state: State, config: RunnableConfig) -> dict:
    reserved = ("__", "langgraph_", "checkpoint_")
    own = {
        key: value
        for key, value in config["configurable"].items()
        if not key.startswith(reserved)
        and key != "user_id"
        and isinstance(value, str | int | float | bool | None)
    }
    own.setdefault("run_id", config["metadata"].get("run_id"))
    return says(json.dumps(own))


echo = chain(echo=_echo)
slow = chain(one=takes("one", 0.3), two=takes("two", 0.3), three=takes("three", 0.3))
fork = (
    StateGraph(State)
    .add_node("left", _left)
    .add_node("right", takes("right", 0.5))
    .add_node("join", _join)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge(["left", "right"], "join")
    .compile()
)
nested = chain(
    child=chain(inner_one=takes("inner_one", 0.2), inner_two=takes("inner_two", 0.2)),
    after=takes("after", 0.2),
)
loop = (
    StateGraph(State)
    .add_node("spin", _spin)
    .add_edge(START, "spin")
    .add_edge("spin", "spin")
    .compile()
)
config = chain(show=_show)
