"""Errors that have a name in the protocol: what one side answers is what the other side raises."""

from __future__ import annotations


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
