"""Server-sent events read byte by byte, so that framing itself can be tested."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Frame:
    """One event as it came: its fields in order, and its comment lines."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    line_ends: set[bytes] = field(default_factory=set)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    @property
    def event(self) -> str:
        return self.get("event") or ""

    @property
    def id(self) -> str | None:
        return self.get("id")

    @property
    def data(self) -> Any:
        text = self.get("data")
        return json.loads(text) if text else None

    def _add(self, line: bytes) -> None:
        text = line.decode()
        if text.startswith(":"):
            self.comments.append(text[1:].strip())
            return
        name, _, value = text.partition(":")
        self.fields.append((name, value.removeprefix(" ")))


class Parser:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._rest = b""
        self._frame = Frame()

    def feed(self, chunk: bytes) -> list[Frame]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        done = []
        for line in lines:
            self._frame.line_ends.add(b"\r\n" if line.endswith(b"\r") else b"\n")
            line = line.removesuffix(b"\r")
            if line:
                self._frame._add(line)
            elif self._frame.fields or self._frame.comments:
                done.append(self._frame)
                self._frame = Frame()
        return done


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    """Frames of a streamed response as they come, comment-only ones included."""
    parser = Parser()
    async for chunk in response.aiter_raw():
        for frame in parser.feed(chunk):
            yield frame


async def events(response: httpx.Response) -> AsyncIterator[Frame]:
    """Frames that carry an event, without the optional closing `end`."""
    async for frame in frames(response):
        if frame.fields and frame.event != "end":
            yield frame


async def read_events(http: httpx.AsyncClient, method: str, url: str, **send: Any) -> list[Frame]:
    """All events of one request, to its end."""
    async with http.stream(method, url, **send) as response:
        response.raise_for_status()
        return [frame async for frame in events(response)]
