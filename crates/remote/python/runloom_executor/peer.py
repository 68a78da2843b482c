"""One end of a socket between the executor and its worker: requests, replies, errors and items.

A `Peer` belongs to one event loop. It is asked from the thread of that loop only; from other threads use
`asyncio.run_coroutine_threadsafe(peer.ask(...), peer.loop)`. Answers and items may be given from any thread.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable

from .errors import ProtocolError, Unavailable, Unsupported
from .frames import ERROR, ITEM, REPLY, REQUEST, BrokenFrame, Frame, FrameReader, pack
from .outlet import Outlet

OnRequest = Callable[["Peer", int, str, Any], None]
"""`(peer, call, method, body)`: answers, now or later, with `peer.reply` or `peer.fail`."""

OnAnswer = Callable[[Any, Exception | None], None]
"""`(answer, None)` or `(None, error)`."""

OnItem = Callable[[int, str, Any], None]
"""`(call, name, body)`: something said about a request under way."""


READ_AT_ONCE = 128 * 1024
"""How many bytes are taken from the socket at once."""


class Peer(asyncio.BufferedProtocol):
    """Speaks frames over a socket, in both directions."""

    def __init__(
        self,
        sock: socket.socket,
        on_request: OnRequest | None = None,
        on_item: OnItem | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._on_request = on_request
        self._on_item = on_item
        self._on_end = on_end
        self._sock = sock
        self._reader = FrameReader()
        # Used again and again: else each reading, mostly of a few bytes, would ask for so much memory.
        self._read = memoryview(bytearray(READ_AT_ONCE))
        self._transport: asyncio.Transport | None = None
        self._outlet: Outlet | None = None
        self._next_call = 1
        self._asked: dict[int, OnAnswer] = {}

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_request: OnRequest | None = None,
        on_item: OnItem | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Peer:
        """Takes over a connected stream socket on the running loop."""
        sock.setblocking(False)
        peer = cls(sock, on_request, on_item, on_end)
        await peer.loop.create_connection(lambda: peer, sock=sock)
        return peer

    # What this side asks.

    def post(self, method: str, body: Any, then: OnAnswer) -> None:
        """Sends a request at once; `then` is called with what is answered, on the loop.

        Requests travel in the order of these calls. Raises nothing: for a request that cannot be sent, `then` is
        called before this returns, with `Unavailable` or the error of packing.
        """
        call = self._next_call
        self._next_call += 1
        try:
            frame = pack(REQUEST, call, method, body)
        except Exception as error:  # a value that msgpack does not know belongs to who passed it
            then(None, error)
            return
        if self._outlet is None or self._transport is None or self._transport.is_closing():
            then(None, Unavailable("the worker is gone"))
            return
        self._asked[call] = then
        self._outlet.write(frame)

    def send(self, method: str, body: Any) -> asyncio.Future[Any]:
        """Sends a request as `post` does; the future is its answer. Cancelling it does not take the request
        back."""
        answer: asyncio.Future[Any] = self.loop.create_future()

        def then(body: Any, error: Exception | None) -> None:
            settle(answer, body, error)

        self.post(method, body, then)
        return answer

    async def ask(self, method: str, body: Any) -> Any:
        """Sends a request and waits for its answer. Raises the `ProtocolError` that was answered."""
        return await self.send(method, body)

    # What this side answers, from any thread.

    def reply(self, call: int, body: Any) -> None:
        """Answers a request. Nothing may be said about it afterwards."""
        self._write(pack(REPLY, call, None, body))

    def fail(self, call: int, error: ProtocolError) -> None:
        """Answers a request with an error."""
        self._write(pack(ERROR, call, None, {"type": error.type, "message": error.message}))

    def item(self, call: int, name: str, body: Any) -> None:
        """Says something about a request under way."""
        self._write(pack(ITEM, call, name, body))

    def _write(self, frame: bytes) -> None:
        if (outlet := self._outlet) is not None:
            outlet.write(frame)

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outlet = Outlet(self._sock, transport, self.loop)

    def resume_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.drained()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.feed(self._read[:nbytes]):
                self._take(frame)
        except BrokenFrame:
            # Whatever follows cannot be understood either.
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._outlet = None
        asked, self._asked = self._asked, {}
        for then in asked.values():
            then(None, Unavailable("the worker is gone"))
        if self._on_end is not None:
            self._on_end()

    def _take(self, frame: Frame) -> None:
        kind, call, method, body = frame
        if kind == REPLY or kind == ERROR:
            then = self._asked.pop(call, None)
            if then is None:
                return
            if kind == REPLY:
                then(body, None)
            else:
                said = body if isinstance(body, dict) else {}
                then(None, ProtocolError.of(str(said.get("type")), str(said.get("message", ""))))
        elif kind == REQUEST:
            if self._on_request is None:
                self.fail(call, Unsupported(f"no requests are taken here: {method}"))
            else:
                self._on_request(self, call, str(method), body)
        elif kind == ITEM and self._on_item is not None:
            self._on_item(call, str(method), body)


def settle(answer: asyncio.Future[Any], body: Any, error: Exception | None) -> None:
    """Gives a future its answer, if somebody still waits for it."""
    if answer.done():
        return
    if error is None:
        answer.set_result(body)
    else:
        answer.set_exception(error)
        # An answer nobody waits for any more is no mistake worth a warning.
        answer.exception()
