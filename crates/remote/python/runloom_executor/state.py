"""States of threads, as clients read them."""

from __future__ import annotations

from typing import Any

import orjson
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from . import encode
from .graphs import READ, Graphs
from .line import Line
from .saver import HostSaver
from .store import HostStore


async def state(graphs: Graphs, line: Line, body: dict[str, Any]) -> bytes | None:
    """Answers `state`: the JSON of a state, None if there is no such checkpoint."""
    config = config_of(body)
    saver = HostSaver(line, body["thread_id"])
    opened = graphs.open(
        body["graph_id"], access=READ, config=config, checkpointer=saver, store=HostStore(line)
    )
    async with opened as graph:
        snapshot = await _snapshot(graph, saver, config, bool(body.get("subgraphs")))
        return encode.dumps(state_of(snapshot)) if is_stored(snapshot) else None


async def _snapshot(
    graph: Pregel, saver: HostSaver, config: Any, subgraphs: bool
) -> StateSnapshot:
    """A state, even if what the step under way wrote cannot be applied: then as it was before that."""
    try:
        return await graph.aget_state(config, subgraphs=subgraphs)
    except Exception:
        # An input that no reducer takes fails its run, and would else make the thread unreadable.
        found = await saver.aget_tuple(config)
        if found is None or "checkpoint_id" in config["configurable"]:
            raise
        return await graph.aget_state(found.config, subgraphs=subgraphs)


async def history(graphs: Graphs, line: Line, body: dict[str, Any]) -> list[bytes]:
    """Answers `history`: states as JSON, newest first."""
    config = config_of(body)
    saver = HostSaver(line, body["thread_id"])
    before = body.get("before")
    opened = graphs.open(
        body["graph_id"], access=READ, config=config, checkpointer=saver, store=HostStore(line)
    )
    async with opened as graph:
        states = graph.aget_state_history(
            config,
            filter=orjson.loads(body.get("metadata") or b"{}") or None,
            before={"configurable": {"checkpoint_id": before}} if before else None,
            limit=body.get("limit"),
        )
        return [encode.dumps(state_of(snapshot)) async for snapshot in states]


async def head(graph: Pregel, thread_id: str) -> dict[str, Any]:
    """The `head` of a thread as it is stored now. `graph` has a checkpointer."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    return head_of(await graph.aget_state(config))


def head_of(snapshot: StateSnapshot) -> dict[str, Any]:
    """The protocol's `head`: where a thread is, of the latest snapshot of its root graph."""
    waiting = {task.id: _interrupts(task.interrupts) for task in snapshot.tasks if task.interrupts}
    return {
        "checkpoint_id": _place(snapshot.config).get("checkpoint_id"),
        "values": encode.dumps(snapshot.values),
        "next": list(snapshot.next),
        "interrupts": encode.dumps(waiting),
    }


def state_of(snapshot: StateSnapshot) -> dict[str, Any]:
    """A snapshot with the fields of the wire."""
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": _checkpoint(snapshot.config),
        "parent_checkpoint": _checkpoint(snapshot.parent_config),
        "interrupts": [shown for task in snapshot.tasks for shown in _interrupts(task.interrupts)],
    }


def is_stored(snapshot: StateSnapshot) -> bool:
    """Whether there is a checkpoint behind a snapshot. LangGraph has one for every thread."""
    return snapshot.created_at is not None


def config_of(body: dict[str, Any]) -> Any:
    """The configuration that names what a question is about."""
    config = orjson.loads(body.get("config") or b"{}") or {}
    named = {
        key: value
        for key, value in (config.get("configurable") or {}).items()
        if key not in ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
    }
    named |= {"thread_id": body["thread_id"], "checkpoint_ns": body.get("ns") or ""}
    # LangGraph shows a checkpoint that is asked for by its id as it was, the latest with what happened since.
    if body.get("checkpoint_id"):
        named["checkpoint_id"] = body["checkpoint_id"]
    return {**config, "configurable": named}


def _task(task: Any) -> dict[str, Any]:
    # Where the subgraph's checkpoints are, or, if asked for, what its state is.
    inner = task.state
    inside = state_of(inner) if isinstance(inner, StateSnapshot) and is_stored(inner) else None
    place = inner.config if isinstance(inner, StateSnapshot) and inside is None else inner
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": _error(task.error),
        "interrupts": _interrupts(task.interrupts),
        "checkpoint": _checkpoint(place) if inside is None else None,
        "state": inside,
        "result": getattr(task, "result", None),
    }


def _error(error: Any) -> str | None:
    if error is None or isinstance(error, str):
        return error
    return repr(error)


def _interrupts(interrupts: Any) -> list[dict[str, Any]]:
    return [_interrupt(each) for each in interrupts]


def _interrupt(interrupt: Any) -> dict[str, Any]:
    shown = {"value": interrupt.value, "id": getattr(interrupt, "id", None)}
    if schema := getattr(interrupt, "response_schema", None):
        shown["response_schema"] = schema
    return shown


def _checkpoint(config: Any) -> dict[str, Any] | None:
    """A configuration as a reference to a checkpoint."""
    if not config:
        return None
    place = _place(config)
    known = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
    return {key: place[key] for key in known if key in place}


def _place(config: Any) -> dict[str, Any]:
    return (config or {}).get("configurable") or {}
