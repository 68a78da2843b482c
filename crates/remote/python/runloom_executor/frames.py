"""Frames: how the stream between the executor and its worker is cut into messages.

A frame is its length (4 bytes, little endian) and a msgpack array `[kind, call, method, body]`.
"""

from __future__ import annotations

import struct
from typing import Any, Iterator

import ormsgpack

REQUEST = 0
REPLY = 1
ERROR = 2
ITEM = 3

LARGEST = 512 * 1024 * 1024
"""The largest frame, in bytes without its length."""

_LENGTH = struct.Struct("<I")

Frame = tuple[int, int, str | None, Any]
"""`(kind, call, method, body)`."""


class BrokenFrame(Exception):
    """What arrived is no frame. The socket is of no use any more."""


class FrameTooLarge(Exception):
    """What should be sent does not fit into a frame. Nothing was sent."""


def pack(kind: int, call: int, method: str | None, body: Any) -> bytes:
    """The bytes of one frame, with its length in front."""
    message = ormsgpack.packb([kind, call, method, body])
    if len(message) > LARGEST:
        raise FrameTooLarge(f"a message of {len(message)} bytes is larger than {LARGEST}")
    return _LENGTH.pack(len(message)) + message


class FrameReader:
    """Puts frames together from pieces as a socket delivers them."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        # How many bytes the frame at the front needs: looked at before anything is copied, so a large
        # frame that arrives in many pieces costs no more than its size.
        self._needed = _LENGTH.size

    def feed(self, piece: bytes | memoryview) -> Iterator[Frame]:
        """Takes the next bytes and yields the frames that they complete. Raises `BrokenFrame`."""
        size = _LENGTH.size
        if not self._waiting and len(piece) > size and _LENGTH.unpack_from(piece)[0] == len(piece) - size:
            # Mostly one frame comes alone, and need not be kept.
            yield _unpack(memoryview(piece)[size:])
            return
        self._waiting += piece
        if len(self._waiting) < self._needed:
            return
        at = 0
        view = memoryview(self._waiting)
        try:
            while True:
                rest = len(view) - at
                if rest < _LENGTH.size:
                    self._needed = _LENGTH.size
                    break
                (length,) = _LENGTH.unpack_from(view, at)
                if length > LARGEST:
                    raise BrokenFrame(f"a frame of {length} bytes is larger than {LARGEST}")
                if rest < _LENGTH.size + length:
                    self._needed = _LENGTH.size + length
                    break
                at += _LENGTH.size
                yield _unpack(view[at : at + length])
                at += length
        finally:
            view.release()
            del self._waiting[:at]


def _unpack(message: memoryview) -> Frame:
    try:
        frame = ormsgpack.unpackb(message, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError as error:
        raise BrokenFrame(f"not msgpack: {error}") from error
    finally:
        message.release()
    if not isinstance(frame, list) or len(frame) < 4:
        raise BrokenFrame("not [kind, call, method, body]")
    kind, call, method, body = frame[:4]
    if not isinstance(kind, int) or not isinstance(call, int):
        raise BrokenFrame("kind and call are not numbers")
    return kind, call, method, body
