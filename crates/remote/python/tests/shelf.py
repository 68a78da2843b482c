"""The storage behind a data socket, in memory: what the worker keeps, for tests of the executor's side alone."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

import orjson

from runloom_executor.errors import Fenced, Invalid, ProtocolError, Unsupported
from runloom_executor.peer import Peer


class Shelf:
    """All threads' checkpoints and all items. `answer` is the whole interface."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
        self.blobs: dict[tuple[str, str, str, str], list[Any]] = {}
        self.writes: dict[tuple[str, str, str], list[list[Any]]] = defaultdict(list)
        self.items: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}

    def answer(self, thread: str, run: str | None, method: str, body: dict[str, Any]) -> Any:
        """Answers one request of a run or question on `thread`."""
        handler = getattr(self, f"_{method}", None)
        if handler is None:
            raise Unsupported(method)
        return handler(thread, run, body)

    def _get_checkpoint(self, thread: str, run: str | None, body: dict[str, Any]) -> Any:
        ids = [key for key in self.checkpoints[thread] if key[0] == body["ns"]]
        wanted = (body["ns"], body["id"]) if body.get("id") else max(ids, default=None)
        found = self.checkpoints[thread].get(wanted) if wanted else None
        return self._tuple(thread, found) if found else None

    def _list_checkpoints(self, thread: str, run: str | None, body: dict[str, Any]) -> Any:
        wanted = orjson.loads(body["metadata"])
        before = body.get("before")
        found = [
            self._tuple(thread, record)
            for (ns, id), record in sorted(self.checkpoints[thread].items(), key=lambda i: i[0][1], reverse=True)
            if (body.get("ns") is None or ns == body["ns"])
            and (before is None or id < before)
            and all(orjson.loads(record["metadata"]).get(key) == value for key, value in wanted.items())
        ]
        return found[: body.get("limit")]

    def _put_checkpoint(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        ns = body["ns"]
        for channel, version, kind, data in body["blobs"]:
            self.blobs.setdefault((thread, ns, channel, version), [kind, data])
        kept = {key: value for key, value in body.items() if key not in ("call", "blobs")}
        self.checkpoints[thread].setdefault((ns, body["id"]), {**kept, "run_id": run})

    def _put_writes(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        rows = self.writes[thread, body["ns"], body["checkpoint_id"]]
        for row in body["writes"]:
            same = next((at for at, old in enumerate(rows) if (old[0], old[2]) == (row[0], row[2])), None)
            if same is None:
                rows.append(row)
            elif row[2] < 0:
                rows[same] = row

    def _store(self, thread: str, run: str | None, body: dict[str, Any]) -> list[Any]:
        return [self._store_op(*op) for op in body["ops"]]

    def _store_op(self, kind: str, *rest: Any) -> Any:
        now = datetime.now(timezone.utc).isoformat()
        if kind == "get":
            return self._item(tuple(rest[0]), rest[1])
        if kind == "put":
            key = (tuple(rest[0]), rest[1])
            created = self.items.get(key, {}).get("created_at", now)
            self.items[key] = {"value": rest[2], "created_at": created, "updated_at": now}
            return None
        if kind == "delete":
            self.items.pop((tuple(rest[0]), rest[1]), None)
            return None
        if kind == "search":
            prefix, wanted, limit, offset = rest
            conditions = orjson.loads(wanted)
            found = [
                self._item(*key)
                for key, item in sorted(self.items.items(), key=lambda i: i[1]["updated_at"], reverse=True)
                if list(key[0][: len(prefix)]) == prefix
                and all(_holds(orjson.loads(item["value"]).get(name), c) for name, c in conditions.items())
            ]
            return found[offset : offset + limit]
        if kind == "namespaces":
            prefix, suffix, max_depth, limit, offset = rest
            namespaces = {
                namespace[:max_depth]
                for namespace, _ in self.items
                if _begins(namespace, prefix) and _begins(namespace[::-1], suffix[::-1])
            }
            return [list(found) for found in sorted(namespaces)[offset : offset + limit]]
        raise Invalid(f"no such operation: {kind}")

    def _delete_thread(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        self._forget(body["thread_id"], lambda record: True)

    def _delete_runs(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        for other in list(self.checkpoints):
            self._forget(other, lambda record: record["run_id"] in body["run_ids"])

    def _copy_thread(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        source, target = body["from"], body["to"]
        self.checkpoints[target].update(self.checkpoints[source])
        for (owner, *rest), value in list(self.blobs.items()):
            if owner == source:
                self.blobs[(target, *rest)] = value  # type: ignore[index]
        for (owner, *rest), rows in list(self.writes.items()):
            if owner == source:
                self.writes[(target, *rest)] = list(rows)  # type: ignore[index]

    def _prune(self, thread: str, run: str | None, body: dict[str, Any]) -> None:
        keep = body["strategy"] == "keep_latest"
        for other in body["thread_ids"]:
            latest: dict[str, str] = {}
            for ns, id in sorted(self.checkpoints[other]):
                latest[ns] = id
            self._forget(other, lambda record: not keep or latest[record["ns"]] != record["id"])

    def _forget(self, thread: str, which: Any) -> None:
        for key, record in list(self.checkpoints[thread].items()):
            if which(record):
                del self.checkpoints[thread][key]
                self.writes.pop((thread, *key), None)

    def _item(self, namespace: tuple[str, ...], key: str) -> Any:
        item = self.items.get((namespace, key))
        return item and [list(namespace), key, item["value"], item["created_at"], item["updated_at"]]

    def _tuple(self, thread: str, record: dict[str, Any]) -> dict[str, Any]:
        ns = record["ns"]
        blobs = ((channel, (thread, ns, channel, version)) for channel, version in record["versions"].items())
        writes = sorted(self.writes[thread, ns, record["id"]], key=lambda row: (row[1], row[0], row[2]))
        return {
            **record,
            "channels": [[channel, *self.blobs[key]] for channel, key in blobs if key in self.blobs],
            "writes": writes,
        }


def _holds(value: Any, condition: Any) -> bool:
    if not isinstance(condition, dict):
        return value == condition
    tests = {"$eq": lambda x: value == x, "$ne": lambda x: value != x, "$gt": lambda x: value > x}
    return all(tests[name](operand) for name, operand in condition.items())


def _begins(labels: tuple[str, ...], pattern: list[str]) -> bool:
    fits = all(wanted in ("*", label) for label, wanted in zip(labels, pattern))
    return len(labels) >= len(pattern) and fits


class Host:
    """Both ends of a data socket on one loop. `peer` is the executor's."""

    peer: Peer

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Every request so far: method and body."""
        self.calls: dict[int, tuple[str, str | None]] = {}
        """The thread and run that each call works for."""
        self.fenced: set[int] = set()
        """Calls whose attempts no longer hold their threads."""
        self.open = asyncio.Event()
        """While it is not set, nothing is answered."""
        self.open.set()
        self.waiting = asyncio.Event()
        """Set when a request waits for `open`."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Host:
        near, far = socket.socketpair()
        self.peer = await Peer.open(near)
        self._far = await Peer.open(far, on_request=self._on_request)
        return self

    async def __aexit__(self, *_: Any) -> None:
        for peer in (self.peer, self._far):
            peer._transport.close()  # type: ignore[union-attr]

    def _on_request(self, peer: Peer, call: int, method: str, body: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._answer(peer, call, method, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, peer: Peer, call: int, method: str, body: dict[str, Any]) -> None:
        self.asked.append((method, body))
        if not self.open.is_set():
            self.waiting.set()
            await self.open.wait()
        try:
            if body["call"] in self.fenced:
                raise Fenced("fenced")
            peer.reply(call, self.shelf.answer(*self.calls[body["call"]], method, body))
        except ProtocolError as error:
            peer.fail(call, error)
