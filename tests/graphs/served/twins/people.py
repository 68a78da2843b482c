"""Graphs that wait for a human."""

from __future__ import annotations

import json

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from twins.common import State, chain, says


def _plain(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer)


def _ask(state: State) -> dict:
    return {"answer": interrupt({"question": "ok?"})}


def _act(state: State) -> dict:
    return says(f"got {_plain(state['answer'])}")


def _asking(letter: str):
    def node(state: State) -> dict:
        return says(f"{letter} {_plain(interrupt({'question': f'{letter}?'}))}")

    return node


pause = chain(ask=_ask, act=_act)
pause_twice = (
    StateGraph(State)
    .add_node("ask_a", _asking("a"))
    .add_node("ask_b", _asking("b"))
    .add_edge(START, "ask_a")
    .add_edge(START, "ask_b")
    .compile()
)
