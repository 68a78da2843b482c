"""The demo agent: it looks the weather up, at the pace of a person's typing.

Two seconds after a turn began, the tool has answered and the last answer is not over.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

try:
    from langchain.agents import create_agent
except ImportError:
    from langgraph.prebuilt import create_react_agent as create_agent

ANSWER = (
    "Right now it is sunny in the place you mean: 24 °C (75 °F), with 50 % humidity and a wind "
    "of 9 km/h. Any other place you would like to know about?"
)
THINK, WORD = 0.4, 0.06


@tool
async def weather_search(query: str) -> str:
    """Finds the current weather of a place."""
    await asyncio.sleep(0.5)
    return json.dumps({"condition": "sunny", "temperature_c": 24})


class Forecaster(BaseChatModel):
    """Searches first, then answers."""

    @property
    def _llm_type(self) -> str:
        return "forecaster"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        return self

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        if isinstance(messages[-1], ToolMessage):
            yield from (AIMessageChunk(f"{word} ") for word in ANSWER.split())
            return
        name, call = "weather_search", f"call_{uuid.uuid4().hex[:12]}"
        arguments = {"query": messages[-1].content}
        block = {"type": "tool_use", "id": call, "name": name, "input": arguments, "index": 0}
        chunk = {"name": name, "args": json.dumps(arguments), "id": call, "index": 0}
        yield AIMessageChunk([block], tool_call_chunks=[{**chunk, "type": "tool_call_chunk"}])

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await asyncio.sleep(THINK)
        for chunk in self._chunks(messages):
            await asyncio.sleep(WORD)
            yield ChatGenerationChunk(message=chunk)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        chunks = [chunk.message async for chunk in self._astream(messages)]
        whole = sum(chunks[1:], chunks[0])
        message = AIMessage(whole.content, tool_calls=whole.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("it is asked asynchronously only")


graph = create_agent(Forecaster(), [weather_search])
