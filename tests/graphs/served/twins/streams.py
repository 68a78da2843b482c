"""Graphs that say something while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer

from twins.common import State, chain


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
        due = asyncio.get_running_loop().time()
        for token in self._tokens():
            due += 1 / self.rate
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
            yield ChatGenerationChunk(message=AIMessageChunk(token))


async def _model(state: State) -> dict:
    model = Counting(count=state.get("count", 20), rate=state.get("rate", 50))
    return {"messages": [await model.ainvoke(state["messages"])]}


async def _emit(state: State) -> dict:
    write = get_stream_writer()
    for number in range(3):
        write({"n": number})
    return {}


tokens = chain(model=_model)
custom = chain(emit=_emit)
