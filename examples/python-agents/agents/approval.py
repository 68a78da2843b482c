"""A draft that a person must approve before it is sent."""

from __future__ import annotations

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from agents.model import ScriptedModel

model = ScriptedModel()


class State(MessagesState):
    """The conversation, and what is to be sent."""

    draft: str


async def write(state: State) -> dict:
    answer = await model.ainvoke(state["messages"])
    return {"draft": answer.content}


def review(state: State) -> Command:
    """Waits for a person: `approve`, `reject`, or another text to send instead."""
    decision = interrupt({"action": "send", "draft": state["draft"]})
    if decision == "reject":
        return Command(goto=END, update={"messages": [AIMessage("I did not send it.")]})
    text = state["draft"] if decision == "approve" else decision
    return Command(goto="send", update={"draft": text})


async def send(state: State) -> dict:
    return {"messages": [AIMessage(f"Sent: {state['draft']}")]}


graph = (
    StateGraph(State)
    .add_node("write", write)
    .add_node("review", review, destinations=("send", END))
    .add_node("send", send)
    .add_edge(START, "write")
    .add_edge("write", "review")
    .add_edge("send", END)
    .compile(name="approval")
)
