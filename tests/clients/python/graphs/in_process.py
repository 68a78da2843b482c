"""The served graphs in this very process, on plain LangGraph: what Runloom is compared with."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict
from langgraph.checkpoint.memory import InMemorySaver
from support.overheard import Overheard
from support.server import ROOT

SERVED = ROOT / "tests/graphs/served"


def load(graph_id: str) -> Any:
    """A graph of the served project, with a checkpointer of its own."""
    project = json.loads((SERVED / "langgraph.json").read_text())
    for folder in project["dependencies"]:
        path = str((SERVED / folder).resolve())
        if path not in sys.path:
            sys.path.insert(0, path)
    named = project["graphs"][graph_id]
    path, _, name = (named if isinstance(named, str) else named["path"]).rpartition(":")
    module = path.removesuffix(".py").replace("/", ".").removeprefix("..")
    # Files are named from their project's folder: its last two parts are package and module.
    found = getattr(importlib.import_module(".".join(Path(module).name.split(".")[-2:])), name)
    graph = found() if callable(found) and not hasattr(found, "astream") else found
    return graph.copy(update={"checkpointer": InMemorySaver()})


class Plain(Overheard):
    """A run of such a graph; it is heard like one that is streamed from a server."""

    def __init__(self, graph: Any, config: Any, input: Any, durability: str) -> None:
        self.graph_here, self.config, self.durability = graph, config, durability
        self.parts, self.run_id, self._news = [], "", asyncio.Event()
        self.task = asyncio.create_task(self._run(input))

    async def _run(self, input: Any) -> None:
        async for namespace, mode, data in self.graph_here.astream(
            input,
            self.config,
            stream_mode=["messages", "updates"],
            subgraphs=True,
            durability=self.durability,
        ):
            if mode == "messages":
                data = [wire(data[0]), data[1]]
            self.parts.append(("|".join([mode, *namespace]), data))
            self._news.set()

    async def stop(self) -> None:
        """Cancels it, once, as everybody does."""
        # Not while a checkpoint is on its way: plain LangGraph would lose the step that it is of.
        await asyncio.sleep(0.05)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        # What LangGraph writes behind a cancelled run needs a few turns of the loop.
        await asyncio.sleep(0.05)


def wire(message: BaseMessage) -> dict[str, Any]:
    """A message as it looks in JSON."""
    return {**message_to_dict(message)["data"], "type": message.type}


async def spoken(graph: Any, config: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The messages of a state, and what is next."""
    state = await graph.aget_state(config)
    return [wire(message) for message in state.values.get("messages", [])], list(state.next)


def in_short(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What two conversations must have in common: all but ids."""
    return [
        (
            message["type"],
            message["content"],
            message.get("name"),
            message.get("status"),
            [(call["name"], call["args"]) for call in message.get("tool_calls") or []],
        )
        for message in messages
    ]
