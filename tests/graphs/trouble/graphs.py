"""Graphs that misbehave when they are asked to stop, and one that must not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

FOR_EVER = 600


class State(TypedDict, total=False):
    """The conversation, and how long things take."""

    messages: Annotated[list, add_messages]
    delay: float
    steps: int


def says(text: str) -> dict:
    return {"messages": [AIMessage(text)]}


def chain(**nodes: Any) -> Any:
    graph = StateGraph(State)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    return graph.compile()


async def first(state: State) -> dict:
    return says("first")


async def last(state: State) -> dict:
    return says("last")


async def _sleep(state: State) -> dict:
    time.sleep(state.get("delay", FOR_EVER))
    return says("slept")


async def _compute(state: State) -> dict:
    end = time.monotonic() + state.get("delay", FOR_EVER)
    while time.monotonic() < end:
        pass
    return says("computed")


def _block(state: State) -> dict:
    time.sleep(state.get("delay", FOR_EVER))
    return says("blocked")


def _compute_in_thread(state: State) -> dict:
    end = time.monotonic() + state.get("delay", FOR_EVER)
    while time.monotonic() < end:
        pass
    return says("computed")


async def _swallow(state: State) -> dict:
    """Takes a cancellation for nothing, and says so."""
    try:
        await asyncio.sleep(state.get("delay", FOR_EVER))
    except asyncio.CancelledError:
        return says("swallowed")
    return says("slept")


async def _clean_up(state: State) -> dict:
    """Has something to finish before it lets itself be stopped."""
    try:
        await asyncio.sleep(FOR_EVER)
    finally:
        await asyncio.sleep(state.get("delay", 1))
        print("cleaned up", flush=True)
    return says("never")


async def _spawn(state: State) -> dict:
    """Starts a program that outlives anything it is not made to die with."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOR_EVER})"])
    await asyncio.sleep(state.get("delay", 0))
    return says(f"spawned {child.pid}")


async def _die(state: State) -> dict:
    """Kills its process, once: whoever tries again is let live."""
    flag = state["messages"][0].content
    if not os.path.exists(flag):
        with open(flag, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return says("lived")


async def _deaf(state: State) -> dict:
    """Cannot be ended from within: it catches whatever is thrown at it, and computes on."""
    end = time.monotonic() + FOR_EVER
    while time.monotonic() < end:
        try:
            while time.monotonic() < end:
                pass
        except BaseException:
            continue
    return says("computed")


async def _step(state: State) -> dict:
    """A step among many; the last one takes stock."""
    await asyncio.sleep(state.get("delay", 0.1))
    done = sum(isinstance(message, AIMessage) for message in state["messages"])
    return says(f"step {done + 1}")


def _more(state: State) -> str:
    done = sum(isinstance(message, AIMessage) for message in state["messages"])
    return "step" if done < state.get("steps", 20) else "__end__"


sleeps = chain(first=first, sleep=_sleep)
computes = chain(first=first, compute=_compute)
blocks = chain(first=first, block=_block)
computes_in_thread = chain(first=first, compute=_compute_in_thread)
swallows = chain(first=first, swallow=_swallow, last=last)
cleans_up = chain(first=first, clean=_clean_up)
spawns = chain(spawn=_spawn)
dies = chain(die=_die)
deaf = chain(first=first, deaf=_deaf)
steady = (
    StateGraph(State)
    .add_node("step", _step)
    .add_edge(START, "step")
    .add_conditional_edges("step", _more, ["step", "__end__"])
    .compile()
)
