"""The graphs that are measured, for servers of graphs in Python.

They do what `echo`, `work` and `tokens` of `runloom dev --test-graphs` do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages


class State(TypedDict, total=False):
    """The state of all of them."""

    messages: Annotated[list, add_messages]
    delay: float
    count: int
    rate: float


def _asked(state: State) -> str:
    said = (m.content for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
    return next(said, "")


async def _echo(state: State) -> dict:
    return {"messages": [AIMessage(f"echo: {_asked(state)}")]}


async def _work(state: State) -> dict:
    await asyncio.sleep(state.get("delay", 0.4))
    return {"messages": [AIMessage(f"work: {_asked(state)}")]}


class Counting(BaseChatModel):
    """Streams so many tokens, so many in a second."""

    count: int
    rate: float

    @property
    def _llm_type(self) -> str:
        return "counting"

    def _tokens(self) -> Iterator[str]:
        return (f"t{number} " for number in range(self.count))

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("it is asked asynchronously only")

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await asyncio.sleep(self.count / self.rate)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(self._tokens())))])

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for token in self._tokens():
            due += 1 / self.rate
            # A token that is late makes the next ones no later.
            await asyncio.sleep(max(0, due - loop.time()))
            yield ChatGenerationChunk(message=AIMessageChunk(token))


async def _model(state: State) -> dict:
    # Asked while its run is streamed as messages, a chat model streams.
    model = Counting(count=state.get("count", 20), rate=state.get("rate", 50))
    return {"messages": [await model.ainvoke(state["messages"])]}


def _single(name: str, node: Any) -> Any:
    return StateGraph(State).add_node(name, node).add_edge(START, name).compile()


echo = _single("echo", _echo)
work = _single("work", _work)
tokens = _single("model", _model)
