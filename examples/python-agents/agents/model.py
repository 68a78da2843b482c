"""A chat model without a network: the last question says in brackets how it shall answer.

    What is new in Rome? [call=weather,search seconds=0,5 preface=3 tokens=40 rate=20]

`call` are the tools to ask for, in one message; `seconds` how long each of them takes; `preface` how many
words to say before that; `tokens` the length of the answer; `rate` how many tokens are streamed in a
second (0: as fast as possible). Without brackets it answers in twelve words.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from agents.provider import BadRequest, check_conversation

BRACKETS = re.compile(r"\[([^\]]*)\]")
ARGUMENT_PIECE = 6


def text_of(message: BaseMessage) -> str:
    """What a message says, whatever form its content has."""
    if isinstance(message.content, str):
        return message.content
    parts = (part if isinstance(part, str) else part.get("text", "") for part in message.content)
    return "".join(parts)


def words(count: int) -> list[str]:
    """An answer of so many tokens."""
    return [f"word{number} " for number in range(1, count)] + ["end."] * (count > 0)


@dataclass
class Script:
    """How one question is to be answered."""

    question: str
    hints: dict[str, str]
    answered: bool

    @classmethod
    def of(cls, messages: Sequence[BaseMessage]) -> Script:
        """The script in the last question; after a tool's result the answer itself is due."""
        last = max(i for i, message in enumerate(messages) if isinstance(message, HumanMessage))
        question = text_of(messages[last])
        found = BRACKETS.search(question)
        pairs = (word.partition("=") for word in (found[1] if found else "").split())
        answered = any(isinstance(message, ToolMessage) for message in messages[last:])
        return cls(question, {key: value for key, _, value in pairs}, answered)

    def number(self, name: str, default: float) -> float:
        return float(self.hints.get(name, default))

    @property
    def pause(self) -> float:
        """Seconds between two tokens."""
        rate = self.number("rate", float(os.environ.get("ANSWER_RATE", "40")))
        return 1 / rate if rate else 0

    def chunks(self, tools: set[str]) -> Iterator[AIMessageChunk]:
        """The answer in the pieces in which it is streamed."""
        names = [name for name in self.hints.get("call", "").split(",") if name]
        if not names or self.answered:
            for word in words(int(self.number("tokens", 12))):
                yield AIMessageChunk(content=word)
            return
        for word in words(int(self.number("preface", 0))):
            yield AIMessageChunk(content=word)
        seconds = self.hints.get("seconds", "0").split(",")
        for index, name in enumerate(names):
            if name not in tools:
                raise BadRequest(f"400: no tool has the name {name}")
            arguments = {"query": self.question, "seconds": float(seconds[index % len(seconds)])}
            yield from call_chunks(index, name, json.dumps(arguments))


def call_chunks(index: int, name: str, arguments: str) -> Iterator[AIMessageChunk]:
    """One tool call as providers stream it: its name first, then its arguments bit by bit."""
    identity = {"name": name, "id": f"call_{uuid.uuid4().hex[:20]}", "args": ""}
    pieces = [
        arguments[start : start + ARGUMENT_PIECE]
        for start in range(0, len(arguments), ARGUMENT_PIECE)
    ]
    for chunk in [identity, *({"name": None, "id": None, "args": piece} for piece in pieces)]:
        call = {**chunk, "index": index, "type": "tool_call_chunk"}
        yield AIMessageChunk(content="", tool_call_chunks=[call])


class ScriptedModel(BaseChatModel):
    """Streams what the last question asks for, and is as strict as a provider."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _begin(self, messages: list[BaseMessage], options: dict[str, Any]) -> Any:
        check_conversation(messages)
        script = Script.of(messages)
        tools = {tool["function"]["name"] for tool in options.get("tools", [])}
        return script, script.chunks(tools)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        script, chunks = self._begin(messages, options)
        for chunk in chunks:
            await asyncio.sleep(script.pause)
            yield ChatGenerationChunk(message=chunk)

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> Iterator[ChatGenerationChunk]:
        script, chunks = self._begin(messages, options)
        for chunk in chunks:
            time.sleep(script.pause)
            yield ChatGenerationChunk(message=chunk)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        return whole([chunk async for chunk in self._astream(messages, **options)])

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        return whole(list(self._stream(messages, **options)))


def whole(chunks: list[ChatGenerationChunk]) -> ChatResult:
    """The chunks of an answer as one message."""
    merged = reduce(add, (chunk.message for chunk in chunks))
    message = AIMessage(content=merged.content, tool_calls=merged.tool_calls, id=merged.id)
    return ChatResult(generations=[ChatGeneration(message=message)])
