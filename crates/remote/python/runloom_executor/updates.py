"""Changes of a thread's state from outside any run."""

from __future__ import annotations

from typing import Any

import orjson
from langgraph.constants import END
from langgraph.errors import InvalidUpdateError
from langgraph.types import Command, Send, StateUpdate

from .errors import Invalid
from .graphs import UPDATE, Graphs
from .line import Line
from .saver import HostSaver
from .state import config_of, head
from .store import HostStore

_COPY = "__copy__"
"""As this node an update only copies a checkpoint."""


async def update_state(graphs: Graphs, line: Line, body: dict[str, Any]) -> dict[str, Any]:
    """Answers `update_state`: writes one checkpoint for each superstep and says what the head is then.

    What an aborted run had said is taken over: LangGraph's own updates build upon the bare checkpoint. Raises
    `Invalid` if the change does not fit the graph.
    """
    config = config_of(body)
    config["metadata"] = {**config.get("metadata", {}), **orjson.loads(body.get("metadata") or b"{}")}
    supersteps = [[_update(update) for update in updates] for updates in body["supersteps"]]
    clears = bool(supersteps and supersteps[0]) and _clears(supersteps[0][0])
    # An update that only clears tasks applies what is written beside the checkpoint, residue as well.
    saver = HostSaver(line, body["thread_id"], resume=not clears)
    opened = graphs.open(
        body["graph_id"], access=UPDATE, config=config, checkpointer=saver, store=HostStore(line)
    )
    async with opened as graph:
        if body.get("checkpoint_id") and await saver.aget_tuple(config) is None:
            raise Invalid(f"no checkpoint {body['checkpoint_id']} to build upon")
        if supersteps and supersteps[0] and not clears:
            supersteps[0] = _with_residue(supersteps[0], await saver.residue(config))
        try:
            await graph.abulk_update_state(config, supersteps)
        except (InvalidUpdateError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise Invalid(str(error) or type(error).__name__) from error
        reader = graph.copy(update={"checkpointer": HostSaver(line, body["thread_id"], serde=saver.serde)})
        return await head(reader, body["thread_id"])


def command_of(fields: dict[str, Any]) -> Command[Any]:
    """A command as clients write it."""
    goto = fields.get("goto")
    update = fields.get("update")
    if isinstance(update, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in update):
        update = [(channel, value) for channel, value in update]
    places = goto if isinstance(goto, list) else [goto] if goto else []
    return Command(
        update=update,
        resume=fields.get("resume"),
        goto=[Send(to["node"], to.get("input")) if isinstance(to, dict) else to for to in places],
    )


def _update(update: dict[str, Any]) -> StateUpdate:
    values = orjson.loads(update.get("values") or b"null")
    command = orjson.loads(update.get("command") or b"null")
    if command is not None:
        values = command_of(command)
    return StateUpdate(values, update.get("as_node"))


def _clears(update: StateUpdate) -> bool:
    return update.values is None and update.as_node == END


def _with_residue(updates: list[StateUpdate], residue: list[tuple[str, Any]]) -> list[StateUpdate]:
    """The first superstep with what an aborted run had said in front."""
    first = updates[0]
    if not residue or first.as_node == _COPY:
        return updates
    values = first.values
    for channel, said in reversed(residue):
        values = _prepended(values, channel, said)
    return [first._replace(values=values), *updates[1:]]


def _prepended(values: Any, channel: str, said: Any) -> Any:
    """`values` of an update with messages in front of what it writes to their channel."""
    if isinstance(values, Command):
        update = values.update
        if isinstance(update, list):
            update = [(channel, said), *update]
        elif update is None or isinstance(update, dict):
            update = _prepended(update, channel, said)
        return Command(update=update, resume=values.resume, goto=values.goto)
    if values is None:
        return {channel: said}
    if isinstance(values, dict):
        written = values.get(channel)
        if _overwrites(written):
            return values
        return {**values, channel: _listed(said) + _listed(written)}
    return values


def _overwrites(written: Any) -> bool:
    return isinstance(written, dict) and set(written) == {"__overwrite__"}


def _listed(messages: Any) -> list[Any]:
    if messages is None:
        return []
    return list(messages) if isinstance(messages, list) else [messages]
