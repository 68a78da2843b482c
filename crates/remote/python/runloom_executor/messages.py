"""Chat messages as events, in one of the two forms that clients ask for."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from .encode import dumps
from .said import Speech

Event = list[Any]
"""`[name, namespace, json, said]`, as the protocol's `events` wants it."""


class Pieces:
    """`messages`: each message, or piece of one, with its metadata."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._metadata: Any = None
        self._metadata_json = b""

    def map(self, namespace: tuple[str, ...], message: Any, metadata: Any) -> list[Event]:
        """The event of one message, or piece of one, from the graph at `namespace`."""
        # All pieces of a message carry the same object, mostly much larger than a piece.
        if metadata is not self._metadata:
            self._metadata, self._metadata_json = metadata, dumps(metadata)
        said = self._speech.of(message, metadata) if isinstance(message, BaseMessage) else None
        data = b"[%b,%b]" % (dumps(message), self._metadata_json)
        return [["messages", namespace, data, said]]


class Accumulated:
    """`messages/metadata` once for a message, then `messages/partial`, all of it so far, for each piece;
    or `messages/complete` for one that comes whole. None has a namespace, whatever graph it is from."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        # None for those that came whole, which were told of and need not be kept.
        self._so_far: dict[str, BaseMessageChunk | None] = {}

    def map(self, namespace: tuple[str, ...], message: Any, metadata: Any) -> list[Event]:
        """The events of one message, or piece of one; `namespace` is of no interest."""
        if not isinstance(message, BaseMessage):
            return []  # an event of LangChain's newer protocol, which has no place in this form
        id = message.id or ""
        events: list[Event] = []
        if id not in self._so_far:
            events.append(["messages/metadata", (), dumps({id: {"metadata": metadata}}), None])
        if isinstance(message, BaseMessageChunk):
            before = self._so_far.get(id)
            whole = message if before is None else before + message
            self._so_far[id] = whole
            name, shown = "messages/partial", message_chunk_to_message(whole)
        else:
            self._so_far.setdefault(id, None)
            name, shown = "messages/complete", message
        events.append([name, (), dumps([shown]), self._speech.of(message, metadata)])
        return events
