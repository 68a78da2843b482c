"""A run that is streamed in the background, and what was heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langgraph_sdk.client import LangGraphClient

MODES = ("messages-tuple", "updates")


class Overheard:
    """Streams a run and remembers what came."""

    def __init__(
        self,
        client: LangGraphClient,
        thread: str,
        graph: str,
        input: Any,
        *,
        modes: tuple[str, ...] = MODES,
        **more: Any,
    ) -> None:
        self.client, self.thread, self.graph = client, thread, graph
        self.run_id = ""
        self.parts: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._listen(input, list(modes), more))

    async def _listen(self, input: Any, modes: list[str], more: dict[str, Any]) -> None:
        try:
            async for part in self.client.runs.stream(
                self.thread,
                self.graph,
                input=input,
                stream_mode=modes,
                stream_subgraphs=True,
                **more,
            ):
                if part.event == "metadata":
                    self.run_id = part.data["run_id"]
                self.parts.append((part.event, part.data))
                self._news.set()
        finally:
            self._news.set()

    async def hears(self, seen: Callable[[Overheard], bool], seconds: float = 20) -> None:
        """Waits until something was heard."""
        async with asyncio.timeout(seconds):
            while not seen(self):
                if self.task.done():
                    await self.task
                    raise AssertionError(f"the stream ended early: {self.parts[-3:]}")
                self._news.clear()
                await self._news.wait()

    async def ended(self, seconds: float = 20) -> None:
        """Waits for the end of the stream, which must be a clean one."""
        await asyncio.wait_for(self.task, seconds)
        assert "error" not in [event for event, _ in self.parts], self.parts[-1]

    def chunks(self, below: str | None = None) -> list[dict[str, Any]]:
        """The chunks of AI messages, of the root graph or of one node's subgraph."""
        heard = []
        for event, data in self.parts:
            word, _, namespace = event.partition("|")
            if word != "messages" or data[0]["type"] not in ("ai", "AIMessageChunk"):
                continue
            if namespace.partition(":")[0] == (below or ""):
                heard.append(data[0])
        return heard

    def texts(self, below: str | None = None) -> dict[str, str]:
        """The text of each AI message, by its id."""
        texts: dict[str, str] = {}
        for chunk in self.chunks(below):
            texts[chunk["id"]] = texts.get(chunk["id"], "") + text_of(chunk)
        return texts

    def updates(self, below: str | None = None) -> list[tuple[str, Any]]:
        """What nodes wrote, with their names, of the root graph or of one node's subgraph."""
        heard = []
        for event, data in self.parts:
            word, _, namespace = event.partition("|")
            if word == "updates" and namespace.partition(":")[0] == (below or ""):
                heard += list(data.items())
        return heard

    def begun(self) -> set[str]:
        """Nodes of the root graph that have begun, as `tasks` events tell."""
        return {data["name"] for event, data in self.parts if event == "tasks" and "input" in data}


def text_of(message: dict[str, Any]) -> str:
    """What a message says, whatever form its content has."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
