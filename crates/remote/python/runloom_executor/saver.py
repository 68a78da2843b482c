"""A LangGraph checkpointer that keeps nothing: the worker stores checkpoints, under the attempt's fence."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph import errors
from langgraph.checkpoint import base
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import ERROR
from langgraph.checkpoint.serde.base import SerializerProtocol

from . import encode
from .line import Line

RESIDUE_PATH = "~residue"
"""The task path of pending writes that keep what an aborted run had said."""

_WITHOUT_RESIDUE = "~without_residue"
"""Marks, in what is stored of a checkpoint, that the residue of its parent did not become part of it."""

_CANCELS = (asyncio.CancelledError, getattr(errors, "NodeCancelledError", asyncio.CancelledError))

_PAGE = 50
"""How many checkpoints are listed with one request."""

# Not the module's functions: graphs seed them, and equal versions would mean equal values. This one has a seed
# of its own from the system.
_RANDOM = random.Random()

_own_metadata = getattr(base, "get_serializable_checkpoint_metadata", base.get_checkpoint_metadata)


class HostSaver(BaseCheckpointSaver[str]):
    """The checkpoints of one thread, for one run or one question.

    Synchronous methods work from any thread but the loop's own, where they raise `RuntimeError`. Raises
    `ValueError` for a configuration of another thread, `Fenced` if the attempt is over, and `Unavailable`
    if storage is.
    """

    def __init__(
        self,
        line: Line,
        thread_id: str,
        *,
        resume: bool = False,
        latest: list[Any] | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """`resume` leaves residue out: for runs without an input. `latest` is the record of the newest checkpoint
        at the root, or empty, where it is known. `serde` is the serializer of the checkpointer that the graph was
        compiled with, if it has one of its own."""
        super().__init__(serde=serde)
        self.line = line
        self.thread_id = str(thread_id)
        self._resume = resume
        # Good for one reading, and only before anything is written.
        self._latest = latest
        # (namespace, checkpoint) whose residue was left out, and so is no part of its children.
        self._left_out: set[tuple[str, str]] = set()

    # Reading.

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        ns, checkpoint_id = self._place(config)
        record = await self._record(ns, checkpoint_id)
        return None if record is None else self._tuple(record)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for record in self._records(config or {}, filter or {}, before, limit):
            yield self._tuple(record)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        """For each channel the writes that led to its value, oldest first, and the stored value that they
        start from (`seed`), if any. As the base class does it, but residue counts only where it became part
        of the state."""
        found: dict[str, dict[str, Any]] = {channel: {"writes": []} for channel in channels}
        missing = set(channels)
        ns, checkpoint_id = self._place(config)
        child = await self._record(ns, checkpoint_id) if missing else None
        ahead: dict[str, Any] = {}
        walked = 0
        while child is not None and child.get("parent") and missing:
            parent = await self._parent(child, ahead, walked)
            walked += 1
            if parent is None:
                break
            residue = _WITHOUT_RESIDUE not in self._load(child["head"])
            for task_id, path, _, channel, kind, data in reversed(parent["writes"]):
                if channel in missing and (residue or path != RESIDUE_PATH):
                    found[channel]["writes"].append((task_id, channel, self._load((kind, data))))
            for channel, kind, data in parent["channels"]:
                if channel in missing:
                    missing.discard(channel)
                    found[channel]["seed"] = self._load((kind, data))
            child = parent
        for history in found.values():
            history["writes"].reverse()
        return found

    async def residue(self, config: RunnableConfig) -> list[tuple[str, Any]]:
        """What an aborted run had said beside a checkpoint, as `(channel, value)`."""
        record = await self._record(*self._place(config))
        rows = record["writes"] if record is not None else []
        return [
            (channel, self._load((kind, data)))
            for _, path, _, channel, kind, data in rows
            if path == RESIDUE_PATH
        ]

    # Writing.

    async def aput(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Mapping[str, Any]
    ) -> RunnableConfig:
        ns, parent = self._place(config)
        self._latest = None
        head = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        if (ns, parent) in self._left_out:
            head[_WITHOUT_RESIDUE] = True
        values = checkpoint["channel_values"]
        versions = checkpoint["channel_versions"]
        await self.line.ask(
            "put_checkpoint",
            {
                "ns": ns,
                "id": checkpoint["id"],
                "parent": parent,
                # LangGraph leaves the thread out; clients are used to find it here.
                "metadata": encode.dumps({**_own_metadata(config, metadata), "thread_id": self.thread_id}),
                "head": list(self.serde.dumps_typed(head)),
                "versions": {name: str(versions[name]) for name in values if name in versions},
                "blobs": [
                    [name, str(version), *self.serde.dumps_typed(values[name])]
                    for name, version in new_versions.items()
                    if name in values
                ],
                "created_at": checkpoint["ts"],
            },
        )
        return self._config(ns, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        ns, checkpoint_id = self._place(config)
        self._latest = None
        if any(channel == ERROR and isinstance(value, _CANCELS) for channel, value in writes):
            # Cancelled after it wrote, but before it chose what comes next. LangGraph takes a task with output
            # for finished, so a resume would never choose: without the output the task is executed again.
            writes = [write for write in writes if write[0] in WRITES_IDX_MAP]
        rows = [
            [task_id, task_path, WRITES_IDX_MAP.get(channel, at), channel, *self.serde.dumps_typed(value)]
            for at, (channel, value) in enumerate(writes)
        ]
        await self.line.ask("put_writes", {"ns": ns, "checkpoint_id": checkpoint_id, "writes": rows})

    def get_next_version(self, current: Any, channel: Any) -> str:
        """Versions grow as texts; the random part tells branches of a thread apart."""
        count = int(str(current).split(".")[0]) if current is not None else 0
        return f"{count + 1:032}.{_RANDOM.random():016}"

    # Maintenance, which the worker does not offer to runs (`Unsupported`).

    async def adelete_thread(self, thread_id: str) -> None:
        await self.line.ask("delete_thread", {"thread_id": thread_id})

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self.line.ask("delete_runs", {"run_ids": list(run_ids)})

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self.line.ask("copy_thread", {"from": source_thread_id, "to": target_thread_id})

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}")
        await self.line.ask("prune", {"thread_ids": list(thread_ids), "strategy": strategy})

    # The same for synchronous code.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.line.wait(self.aget_tuple(config))

    def list(self, config: RunnableConfig | None, **selection: Any) -> Iterator[CheckpointTuple]:
        async def all_of_them() -> Any:
            return [found async for found in self.alist(config, **selection)]

        yield from self.line.wait(all_of_them())

    def get_delta_channel_history(self, **question: Any) -> Mapping[str, Any]:
        return self.line.wait(self.aget_delta_channel_history(**question))

    def put(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Mapping[str, Any]
    ) -> RunnableConfig:
        return self.line.wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.line.wait(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self.line.wait(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.line.wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.line.wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self.line.wait(self.aprune(thread_ids, strategy=strategy))

    # Records are checkpoints as they travel.

    async def _record(self, ns: str, checkpoint_id: str | None) -> Any:
        if not ns and checkpoint_id is None and self._latest is not None:
            latest, self._latest = self._latest, None
            return latest[0] if latest else None
        return await self.line.ask("get_checkpoint", {"ns": ns, "id": checkpoint_id})

    async def _parent(self, child: Any, ahead: dict[str, Any], walked: int) -> Any:
        """The parent of a record. It mostly is the checkpoint before, so on a long walk several of those
        are fetched at once and kept in `ahead`."""
        wanted = child["parent"]
        if wanted not in ahead:
            ahead.clear()
            if walked >= 2:
                body = {"ns": child["ns"], "metadata": b"{}", "before": child["id"]}
                page = await self.line.ask("list_checkpoints", {**body, "limit": min(_PAGE, 2 * walked)})
                ahead.update((record["id"], record) for record in page)
        return ahead.get(wanted) or await self._record(child["ns"], wanted)

    async def _records(
        self,
        config: RunnableConfig,
        filter: dict[str, Any],
        before: RunnableConfig | None,
        limit: int | None,
    ) -> AsyncIterator[Any]:
        ns, checkpoint_id = self._place(config)
        older_than = self._place(before)[1] if before else None
        if checkpoint_id is not None:
            record = await self._record(ns, checkpoint_id)
            if record is not None and _fits(record, filter, older_than) and limit != 0:
                yield record
            return
        in_all = "checkpoint_ns" not in config.get("configurable", {})
        body = {"ns": None if in_all else ns, "metadata": encode.dumps(filter)}
        left = limit
        while left is None or left > 0:
            # Ids of several namespaces may be equal, so there is no telling where a page of them ends.
            asked = left if in_all else min(_PAGE, left or _PAGE)
            page = await self.line.ask("list_checkpoints", {**body, "before": older_than, "limit": asked})
            for record in page:
                yield record
            if in_all or len(page) < (asked or 0):
                return
            left = None if left is None else left - len(page)
            older_than = page[-1]["id"]

    def _tuple(self, record: Any) -> CheckpointTuple:
        ns, checkpoint_id = record["ns"], record["id"]
        checkpoint = self._load(record["head"])
        checkpoint.pop(_WITHOUT_RESIDUE, None)
        channels = record["channels"]
        checkpoint["channel_values"] = {name: self._load((kind, data)) for name, kind, data in channels}
        writes = record["writes"]
        if self._resume:
            kept = [row for row in writes if row[1] != RESIDUE_PATH]
            if len(kept) < len(writes):
                self._left_out.add((ns, checkpoint_id))
            writes = kept
        parent = record.get("parent")
        return CheckpointTuple(
            config=self._config(ns, checkpoint_id),
            checkpoint=checkpoint,
            metadata=orjson.loads(record["metadata"]),
            parent_config=self._config(ns, parent) if parent else None,
            pending_writes=[
                (task_id, channel, self._load((kind, data))) for task_id, _, _, channel, kind, data in writes
            ],
        )

    def _load(self, typed: Sequence[Any]) -> Any:
        return self.serde.loads_typed((typed[0], typed[1]))

    def _place(self, config: RunnableConfig) -> tuple[str, str | None]:
        """The namespace and the checkpoint that a configuration names."""
        named = config.get("configurable", {})
        thread_id = str(named.get("thread_id", self.thread_id))
        if thread_id != self.thread_id:
            raise ValueError(f"checkpoints of thread {thread_id} are out of reach from {self.thread_id}")
        return named.get("checkpoint_ns") or "", named.get("checkpoint_id") or None

    def _config(self, ns: str, checkpoint_id: str) -> RunnableConfig:
        named = {"thread_id": self.thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
        return {"configurable": named}


# LangGraph looks at it for each run, and it takes Python a while to put together.
HostSaver.aput_writes.__signature__ = inspect.signature(HostSaver.aput_writes)  # type: ignore[attr-defined]


def _fits(record: Any, filter: Mapping[str, Any], older_than: str | None) -> bool:
    metadata = orjson.loads(record["metadata"])
    fits = all(metadata.get(key) == value for key, value in filter.items())
    return fits and (older_than is None or record["id"] < older_than)
