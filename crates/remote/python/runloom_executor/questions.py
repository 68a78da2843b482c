"""Questions about graphs and threads, each answered by the function that knows."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from .drawing import drawing
from .errors import Failed, Invalid, ProtocolError, message_of
from .graphs import Graphs
from .line import Line
from .schemas import schemas, subgraphs
from .state import history, state
from .updates import update_state

QUESTIONS: dict[str, Callable[[Graphs, Line, dict[str, Any]], Awaitable[Any]]] = {
    "state": state,
    "history": history,
    "update_state": update_state,
    "drawing": drawing,
    "schemas": schemas,
    "subgraphs": subgraphs,
}


async def answer(method: str, graphs: Graphs, line: Line, body: dict[str, Any]) -> Any:
    """The answer to a question. Raises `ProtocolError`, whatever the graph raised."""
    try:
        return await QUESTIONS[method](graphs, line, body)
    except ProtocolError:
        raise
    except KeyError as error:
        if error.args and error.args[0] in ("graph_id", "thread_id", "supersteps"):
            raise Invalid(f"the request has no {error}") from error
        raise Failed(f"KeyError: {error}") from error
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {message_of(error)}") from error
    finally:
        await line.settle()
        line.close()
