"""The graphs of a deployment: loaded once, opened for each run and each question.

A graph that does not load is remembered with its error and hides no other. Opened graphs are copies with the
checkpointer and the store of the worker, whatever they were compiled with.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import traceback
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, AsyncIterator, Iterator

from langgraph.graph.message import add_messages
from langgraph.pregel import Pregel

from .errors import Invalid, UnknownGraph, message_of, sendable
from .factories import DESCRIBE, EXECUTE, READ, UPDATE, Factory, Runtime, User
from .loading import load

__all__ = ["DESCRIBE", "EXECUTE", "READ", "UPDATE", "GraphFacts", "Graphs", "error_of"]

FACTORY_PATIENCE = 10.0
"""For so many seconds factories may take to make a graph for the manifest."""

_log = logging.getLogger("runloom")


@dataclass(frozen=True)
class GraphFacts:
    """What the manifest says about a graph."""

    id: str
    description: str | None = None
    messages_channel: str | None = None
    """The channel whose reducer merges chat messages by id."""
    shared_subgraph_nodes: frozenset[str] = frozenset()
    """Nodes that are a compiled graph which shares that channel; those below one as `outer|inner`."""
    factory: bool = False
    error: dict[str, Any] | None = None
    """`{type, message, traceback}` if it did not load."""

    def manifest(self) -> dict[str, Any]:
        """This graph as it stands in the answer to `hello`."""
        return {
            "id": self.id,
            "description": self.description,
            "error": self.error,
            "messages_channel": self.messages_channel,
            "shared_subgraph_nodes": sorted(self.shared_subgraph_nodes),
            "factory": self.factory,
        }


class Graphs:
    """The graphs of `langgraph.json`."""

    def __init__(self) -> None:
        self._facts: dict[str, GraphFacts] = {}
        self._sources: dict[str, Pregel | Factory] = {}
        self._warned: set[str] = set()

    def load(self, hello: dict[str, Any]) -> None:
        """Loads every graph of a `hello` request. Raises nothing: what fails is in the facts.

        Executes user modules, so it wants the main thread, and no running loop, as a script would have it.
        """
        root = Path(hello.get("root") or ".")
        for folder in reversed([str((root / each).resolve()) for each in hello.get("dependencies") or []]):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        for id, graph in (hello.get("graphs") or {}).items():
            facts = GraphFacts(id, description=graph.get("description"))
            try:
                source = _source(load(graph["path"], root))
                self._sources[id] = source
                is_graph = isinstance(source, Pregel)
                facts = _examined(facts, source) if is_graph else replace(facts, factory=True)
            # A module may even call `sys.exit`.
            except (Exception, SystemExit) as error:
                facts = replace(facts, error=error_of(error))
            self._facts[id] = facts

    async def examine_factories(self) -> None:
        """Calls each factory once, to learn what the manifest says. What it does not tell stays unknown."""
        factories = [id for id, source in self._sources.items() if isinstance(source, Factory)]
        calls = {asyncio.create_task(self._examine(id)): id for id in factories}
        if not calls:
            return
        _, unfinished = await asyncio.wait(calls, timeout=FACTORY_PATIENCE)
        for call in unfinished:
            call.cancel()
        for call, id in calls.items():
            if call in unfinished or call.cancelled() or call.exception() is not None:
                why = repr(call.exception()) if call.done() and not call.cancelled() else "it did not end"
                _log.warning("what the factory of graph %r makes could not be learned: %s", id, why)

    async def _examine(self, graph_id: str) -> None:
        async with self.open(graph_id, access=DESCRIBE, config={"configurable": {}}):
            pass

    def all(self) -> list[GraphFacts]:
        """The facts of every graph, in the order of `langgraph.json`."""
        return list(self._facts.values())

    def facts(self, graph_id: str) -> GraphFacts:
        """The facts of a graph. Raises `UnknownGraph`, or `Invalid` if it did not load."""
        facts = self._facts.get(graph_id)
        if facts is None:
            raise UnknownGraph(f"there is no graph {graph_id!r}")
        if facts.error is not None:
            raise Invalid(f"graph {graph_id!r} did not load: {facts.error['type']}: {facts.error['message']}")
        return facts

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        *,
        access: str,
        config: dict[str, Any],
        checkpointer: Any = None,
        store: Any = None,
        context: Any = None,
    ) -> AsyncIterator[Pregel]:
        """The graph, with this checkpointer and store; on the loop that executes graphs.

        `access` says what for: `EXECUTE`, `UPDATE`, `READ` or `DESCRIBE`. Raises `UnknownGraph`, `Invalid`,
        and whatever a factory raises. Without a store the graph keeps its own.
        """
        facts = self.facts(graph_id)
        source = self._sources[graph_id]
        async with AsyncExitStack() as stack:
            if isinstance(source, Factory):
                runtime = Runtime(
                    access_context=access,
                    store=store,
                    user=_user(config),
                    context=context if access == EXECUTE else None,
                )
                made = await source.make(stack, config, runtime)
                graph = _compiled(made)
                if graph is None:
                    what = type(made).__name__
                    raise Invalid(f"the factory of graph {graph_id!r} made a {what}, not a graph")
                if facts.messages_channel is None:
                    self._facts[graph_id] = _examined(facts, graph)
            else:
                graph = source
            yield self._equipped(graph_id, graph, checkpointer, store)

    def _equipped(self, graph_id: str, graph: Pregel, checkpointer: Any, store: Any) -> Pregel:
        changes: dict[str, Any] = {"checkpointer": checkpointer}
        if graph.checkpointer is not None and not isinstance(graph.checkpointer, bool):
            self._warn(graph_id, "checkpointer", graph.checkpointer)
            if checkpointer is not None:
                # What it may write and revive is a choice of the graph's author.
                checkpointer.serde = graph.checkpointer.serde
        if store is not None:
            changes["store"] = store
            if graph.store is not None:
                self._warn(graph_id, "store", graph.store)
        if graph.name in (None, "LangGraph"):
            changes["name"] = graph_id
        return graph.copy(update=changes)

    def _warn(self, graph_id: str, what: str, compiled: Any) -> None:
        if f"{graph_id} {what}" not in self._warned:
            self._warned.add(f"{graph_id} {what}")
            _log.warning(
                "graph %r was compiled with a %s of its own (%s); the server's is used instead",
                *(graph_id, what, type(compiled).__name__),
            )


def error_of(error: BaseException) -> dict[str, Any]:
    """An error as `{type, message, traceback}`."""
    return {
        "type": type(error).__name__,
        "message": message_of(error),
        "traceback": sendable("".join(traceback.format_exception(error))),
    }


def _source(found: Any) -> Pregel | Factory:
    graph = _compiled(found)
    if graph is not None:
        return graph
    if callable(found):
        return Factory(found)
    raise TypeError(f"a {type(found).__name__} is neither a graph nor a function that makes one")


def _compiled(found: Any) -> Pregel | None:
    if isinstance(found, Pregel):
        return found
    compile = getattr(found, "compile", None)
    if callable(compile) and not isinstance(found, type):
        graph = compile()
        return graph if isinstance(graph, Pregel) else None
    return None


def _examined(facts: GraphFacts, graph: Pregel) -> GraphFacts:
    channel = next((name for name, channel in graph.channels.items() if _merges_messages(channel)), None)
    shared = frozenset(_shared_below(graph, channel)) if channel is not None else frozenset()
    return replace(facts, messages_channel=channel, shared_subgraph_nodes=shared)


def _shared_below(graph: Pregel, channel: str, above: str = "") -> Iterator[str]:
    for name, node in graph.nodes.items():
        if isinstance(node.bound, Pregel) and _merges_messages(node.bound.channels.get(channel)):
            yield above + name
            yield from _shared_below(node.bound, channel, f"{above}{name}|")


def _merges_messages(channel: Any) -> bool:
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    while isinstance(reducer, functools.partial):
        reducer = reducer.func
    # With arguments the public reducer is a partial of an inner function, and the one for delta channels is
    # not public: both are LangGraph's own, and say in their names what they reduce.
    own = str(getattr(reducer, "__module__", "")).startswith("langgraph.")
    return reducer is add_messages or (own and "messages" in getattr(reducer, "__name__", ""))


def _user(config: dict[str, Any]) -> User | None:
    user = config.get("configurable", {}).get("langgraph_auth_user")
    return User(user) if isinstance(user, dict) else user
