"""Errors that have a name in the protocol: what one side answers is what the other side raises."""

from __future__ import annotations

LONGEST = 64 * 1024
"""How much of a text about an error is told, in characters."""


class ProtocolError(Exception):
    """An error with a type that the other side knows. `Peer.ask` raises what the other side answered."""

    type = "Failed"

    def __init__(self, message: str = "", type: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if type is not None:
            self.type = type

    @staticmethod
    def of(type: str, message: str) -> ProtocolError:
        """The error with this name, as an instance of its class where it has one."""
        return _BY_TYPE.get(type, ProtocolError)(message, type)


class Fenced(ProtocolError):
    """The attempt no longer holds its thread, or is over: it has to stop at once."""

    type = "Fenced"


class Unavailable(ProtocolError):
    """Storage did not answer, or the worker is gone. The attempt may be tried again."""

    type = "Unavailable"


class Invalid(ProtocolError):
    """The request does not fit the graph, the thread or the store."""

    type = "Invalid"


class UnknownGraph(ProtocolError):
    """No graph with this id was loaded."""

    type = "UnknownGraph"


class Unsupported(ProtocolError):
    """A method that this side does not know."""

    type = "Unsupported"


class Failed(ProtocolError):
    """User code raised while a question was answered."""

    type = "Failed"


_BY_TYPE = {known.type: known for known in (Fenced, Unavailable, Invalid, UnknownGraph, Unsupported, Failed)}


def message_of(error: BaseException) -> str:
    """What an error of user code says, whatever it does when it is asked."""
    try:
        return sendable(str(error))
    except Exception:
        return "(its text cannot be told)"


def sendable(text: str) -> str:
    """The text as it can be sent and stored: its beginning and its end if it is long, and Unicode."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n… {len(text) - LONGEST} characters …\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode()
