"""Small graphs that do one thing each. Where they wait, they wait for a file that the test makes."""

from __future__ import annotations

import asyncio
import operator
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


async def gate(path: str) -> None:
    while not Path(path).exists():
        await asyncio.sleep(0.02)


class Halting(BaseChatModel):
    """Says two words and then nothing until it is allowed to."""

    path: str = ""

    @property
    def _llm_type(self) -> str:
        return "halting"

    def _generate(self, messages: list[BaseMessage], *more: Any, **named: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("all at once"))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **more: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in ("Once", " upon"):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        await gate(self.path)
        yield ChatGenerationChunk(message=AIMessageChunk(" a time"))


class Conversation(MessagesState):
    path: str


async def speak(state: Conversation) -> Any:
    return {"messages": [await Halting(path=state["path"]).ainvoke(state["messages"])]}


chat = StateGraph(Conversation).add_node("speak", speak).add_edge(START, "speak").compile()


class Journal(TypedDict, total=False):
    entries: Annotated[list[str], operator.add]
    path: str


async def first(state: Journal) -> Any:
    return {"entries": ["first"]}


async def second(state: Journal) -> Any:
    get_stream_writer()("waiting")
    await gate(state["path"])
    return {"entries": ["second"]}


steps = (
    StateGraph(Journal).add_sequence([("first", first), ("second", second)]).add_edge(START, "first").compile()
)


def question(state: Journal) -> Any:
    return {"entries": [interrupt("who?")]}


ask = StateGraph(Journal).add_node("question", question).add_edge(START, "question").compile()


def stumble(state: Journal) -> Any:
    raise KeyError("nothing there")


fail = StateGraph(Journal).add_node("stumble", stumble).add_edge(START, "stumble").compile()


async def pour(state: Journal) -> Any:
    write = get_stream_writer()
    for number in range(200):
        write({"number": number, "ballast": "x" * 10_000})
        await asyncio.sleep(0)
    return {"entries": ["poured"]}


flood = StateGraph(Journal).add_node("pour", pour).add_edge(START, "pour").compile()


async def note(state: Journal) -> Any:
    store = get_store()
    await store.aput(("notes", "of-ann"), "one", {"text": "hello"})
    found = await store.asearch(("notes",), filter={"text": "hello"})
    names = await store.alist_namespaces(prefix=("notes",))
    gone = await store.aget(("notes", "of-ann"), "two")
    return {"entries": [found[0].value["text"], ".".join(names[0]), str(gone)]}


remember = StateGraph(Journal).add_node("note", note).add_edge(START, "note").compile()


async def hold(state: Journal) -> Any:
    """Holds the loop, deaf to every signal that could break it, and says so by making the file."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    Path(state["path"]).touch()
    time.sleep(600)


block = StateGraph(Journal).add_node("hold", hold).add_edge(START, "hold").compile()
