"""Writing to a socket from any thread, at once, while an event loop reads from it."""

from __future__ import annotations

import asyncio
import socket
import threading


class Outlet:
    """The writing half of a peer. Frames travel whole, in the order of the calls of `write`.

    Mostly the socket takes a frame at once, and no other thread has to wake up for it. Where it does not, the
    loop sends the rest as the other side reads.
    """

    def __init__(
        self, sock: socket.socket, transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop
    ) -> None:
        """`transport` is the socket's on `loop`. `drained` is to be called when it resumes writing, and nobody
        else may write to it."""
        self._sock = sock
        self._transport = transport
        self._loop = loop
        self._guard = threading.Lock()
        # What came while the transport has something left to send; None while it has nothing.
        self._held: bytearray | None = None
        # So the transport tells that it has nothing left, and not just little.
        transport.set_write_buffer_limits(high=0)

    def write(self, frame: bytes) -> None:
        """Sends a frame. One for a socket that is closed vanishes: its end is heard where it is read."""
        with self._guard:
            if self._held is not None:
                self._held += frame
                return
            try:
                sent = self._sock.send(frame)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return
            if sent == len(frame):
                return
            self._held = bytearray(memoryview(frame)[sent:])
        self._loop.call_soon_threadsafe(self.drained)

    def drained(self) -> None:
        """The transport has nothing left to send: it gets what was held meanwhile. On the loop."""
        with self._guard:
            held, self._held = self._held, None
            if not held or self._transport.is_closing():
                return
            # What comes from now on comes after it.
            self._held = bytearray()
        self._transport.write(held)
        if not self._transport.get_write_buffer_size():
            self.drained()
