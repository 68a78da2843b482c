"""Topics looked up in parallel, each in a subgraph of its own, then one answer.

The topics are what the question names before its brackets, separated by commas:
`rome, paris, oslo [tokens=40]`. Among the brackets, `slow=oslo:5` makes one of them take five seconds.
"""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, TypedDict

from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send

from agents.model import BRACKETS, Script, ScriptedModel, text_of

model = ScriptedModel()


class State(MessagesState):
    """The conversation, and what was found for the present question."""

    findings: Annotated[list[str], add]


class Topic(TypedDict, total=False):
    """What one branch works on."""

    topic: str
    seconds: float
    pages: str
    findings: Annotated[list[str], add]


async def fetch(state: Topic) -> Topic:
    await asyncio.sleep(state["seconds"])
    return {"pages": f"pages about {state['topic']}"}


async def summarize(state: Topic) -> Topic:
    question = HumanMessage(f"Summarize {state['pages']} [tokens=3 rate=0]")
    summary = await model.ainvoke([question])
    return {"findings": [f"{state['topic']}: {summary.content}"]}


def look_up(state: State) -> list[Send]:
    """One branch for each topic of the last question."""
    question = text_of(state["messages"][-1])
    slow, _, seconds = Script.of(state["messages"]).hints.get("slow", "").partition(":")
    topics = [topic.strip() for topic in BRACKETS.sub("", question).split(",")]
    return [
        Send("look_up", {"topic": topic, "seconds": float(seconds) if topic == slow else 0.0})
        for topic in topics
    ]


async def outline(state: MessagesState) -> dict:
    return {}


async def compose(state: MessagesState) -> dict:
    return {"messages": [await model.ainvoke(state["messages"])]}


def make_graph():
    """Builds the graph: a project may name a function instead of a graph."""
    branch = (
        StateGraph(Topic)
        .add_node("fetch", fetch)
        .add_node("summarize", summarize)
        .add_edge(START, "fetch")
        .add_edge("fetch", "summarize")
        .compile(name="look_up")
    )
    # This one shares the conversation with the graph around it.
    writer = (
        StateGraph(MessagesState)
        .add_node("outline", outline)
        .add_node("compose", compose)
        .add_edge(START, "outline")
        .add_edge("outline", "compose")
        .compile(name="writer")
    )
    return (
        StateGraph(State)
        .add_node("look_up", branch)
        .add_node("writer", writer)
        .add_conditional_edges(START, look_up, ["look_up"])
        .add_edge("look_up", "writer")
        .compile(name="research")
    )
