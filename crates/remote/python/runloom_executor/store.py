"""LangGraph's long-term memory, which the worker keeps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from . import encode
from .line import Line


class HostStore(BaseStore):
    """The store of a run or question. Search is by prefix and filter, without embeddings: a `query` raises
    `NotImplementedError`. A time to live is accepted and has no effect.

    Synchronous methods work from any thread but the loop's own, where they raise `RuntimeError`. Raises
    `Fenced` if the attempt is over, `Unavailable` if storage is, and `Invalid` for what it refuses.
    """

    supports_ttl = True

    def __init__(self, line: Line) -> None:
        self.line = line

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self.line.wait(self.abatch(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carries out operations, in their order; one answer for each."""
        asked = list(ops)
        # Checked and encoded as a whole, so that nothing is done if one of them is wrong.
        requests = [_request(op) for op in asked]
        if not requests:
            return []
        answers = await self.line.ask("store", {"ops": requests})
        return [_result(op, answer) for op, answer in zip(asked, answers)]


def _request(op: Op) -> list[Any]:
    """The operation as it travels."""
    if isinstance(op, GetOp):
        return ["get", list(op.namespace), str(op.key)]
    if isinstance(op, PutOp):
        if op.value is None:
            return ["delete", list(op.namespace), str(op.key)]
        return ["put", list(op.namespace), str(op.key), encode.dumps(op.value)]
    if isinstance(op, SearchOp):
        if op.query:
            raise NotImplementedError(
                "semantic search is not available: the store has no embeddings. Search by prefix and filter"
            )
        return ["search", list(op.namespace_prefix), encode.dumps(op.filter or {}), op.limit, op.offset]
    if isinstance(op, ListNamespacesOp):
        prefix, suffix = _conditions(op)
        return ["namespaces", prefix, suffix, op.max_depth, op.limit, op.offset]
    raise TypeError(f"not an operation of the store: {op!r}")


def _result(op: Op, answer: Any) -> Result:
    if isinstance(op, GetOp):
        return None if answer is None else Item(**_fields(answer))
    if isinstance(op, SearchOp):
        return [SearchItem(**_fields(item)) for item in answer]
    if isinstance(op, ListNamespacesOp):
        return [tuple(namespace) for namespace in answer]
    return None


def _conditions(op: ListNamespacesOp) -> tuple[list[str], list[str]]:
    """What namespaces must begin and end with."""
    found: dict[str, list[str]] = {}
    for condition in op.match_conditions or ():
        if condition.match_type not in ("prefix", "suffix"):
            raise ValueError(f"unknown match type {condition.match_type!r}")
        if condition.match_type in found:
            raise NotImplementedError("namespaces can be matched with one prefix and one suffix")
        found[condition.match_type] = list(condition.path)
    return found.get("prefix", []), found.get("suffix", [])


def _fields(item: list[Any]) -> dict[str, Any]:
    namespace, key, value, created_at, updated_at = item
    return {
        "namespace": tuple(namespace),
        "key": key,
        "value": orjson.loads(value),
        "created_at": _time(created_at),
        "updated_at": _time(updated_at),
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
