"""From what LangGraph yields to the events of the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager

from .encode import dumps
from .messages import Accumulated, Event, Pieces
from .said import Speech
from .traces import node_of

PLAIN = ("values", "updates", "custom", "tasks", "checkpoints", "debug")
INTERRUPT = "__interrupt__"


class Facts(Protocol):
    """What must be known of a graph to tell its speech."""

    messages_channel: str | None
    shared_subgraph_nodes: frozenset[str]


class EventMapper:
    """Maps the chunks of one run. Never waits; holds no more than the messages under way."""

    def __init__(
        self,
        modes: Iterable[str],
        subgraphs: bool,
        facts: Facts,
        tell_node: Callable[[list[Any]], None] | None = None,
    ) -> None:
        """`modes` are the wire's words; `subgraphs` says whether events of subgraphs are asked for; `tell_node`
        is told of tasks that begin and end.

        `astream` is to be called with the same: a message that a subgraph shows is not shown again by the
        node it is.
        """
        asked = set(modes)
        self._asked = asked
        self._subgraphs = subgraphs
        self._tell_node = tell_node
        self._root_run: str | None = None
        self._values = InterruptedValues()
        self._checkpoint: dict[str, Any] | None = None
        self._shown: tuple[Any, bytes] = (None, b"")
        self._messages: Pieces | Accumulated | None = None
        self._speech = Speech(facts.messages_channel, facts.shared_subgraph_nodes)
        if "messages-tuple" in asked:  # wins if both are asked for
            self._messages = Pieces(self._speech)
        elif "messages" in asked:
            self._messages = Accumulated(self._speech)

    @property
    def wants_events(self) -> bool:
        """Whether `astream_events(version="v2")` is to run the graph, and `map_event` gets what it yields."""
        return "events" in self._asked

    def stream_modes(self) -> list[str]:
        """What `stream_mode` is to be: always a list, as the chunks are told apart by it.

        `messages` is among them only if a client asked for it, as it makes models stream.
        """
        # With `custom`, LangGraph runs each node in a task of its own, so a cancel hits the superstep and
        # not the node alone, which might swallow it and let the next superstep begin. `checkpoints` is for
        # `head`.
        always = {"custom", "checkpoints"} if self._tell_node is None else {"custom", "checkpoints", "tasks"}
        modes = [mode for mode in PLAIN if mode in self._asked or mode in always]
        return [*modes, "messages"] if self._messages is not None else modes

    def listening(self, graph: Any, config: dict[str, Any]) -> Any:
        """The graph to be run instead of `graph`, so that what it says is heard; may add to `config`.

        Callbacks of a run's configuration make LangGraph before 1.1 forget those that are bound to the graph, so
        ours is bound, too. `astream_events` brings callbacks of its own, so there it has to be with them.
        """
        listener = self._speech.listener
        if listener is None or self._messages is None:
            return graph
        if self.wants_events:
            config["callbacks"] = _with(config.get("callbacks"), listener)
            return graph
        bound = graph.config or {}
        return graph.copy(update={"config": {**bound, "callbacks": _with(bound.get("callbacks"), listener)}})

    def map(self, chunk: Any) -> list[Event]:
        """The events of one chunk of `astream`. Raises `EncodeError`."""
        namespace, mode, payload = chunk if len(chunk) == 3 else ((), *chunk)
        if namespace and not self._subgraphs:
            return []
        if mode == "messages":
            return self._messages.map(namespace, *payload) if self._messages is not None else []
        if mode == "tasks" and self._tell_node is not None:
            self._tell_node(node_of(payload))
            if "tasks" not in self._asked:
                return []
        if mode == "checkpoints" and not namespace:
            self._checkpoint = payload
        payload, late = self._values.complete(namespace, mode, payload, self._asked)
        events = [["values", namespace, dumps(values), None] for values in late]
        if mode in self._asked:
            if mode == "debug":
                payload = _debug(payload)
            data = dumps(payload)
            if mode == "values" and not namespace:
                self._shown = payload, data
            events.append([mode, namespace, data, None])
        return events

    def map_event(self, event: dict[str, Any]) -> list[Event]:
        """The events of one event of `astream_events`: chunks of the root graph are the other modes'."""
        if self._root_run is None:
            self._root_run = event["run_id"]
        if event["event"] == "on_chain_stream" and event["run_id"] == self._root_run:
            return self.map(event["data"]["chunk"])
        return [["events", (), dumps(event), None]]

    def finish(self) -> list[Event]:
        """What is still to be said after the last chunk."""
        return [["values", namespace, dumps(values), None] for namespace, values in self._values.rest()]

    def head(self) -> dict[str, Any] | None:
        """Where the run left the thread: `{checkpoint_id, values: json, next, interrupts: json}`.

        Only for a run that succeeded, all of whose writes were acknowledged. None if the last checkpoint that
        the graph told of has tasks to do: what they wrote is part of the state, but was not told.
        """
        checkpoint = self._checkpoint
        if checkpoint is None or checkpoint["next"]:
            return None
        return {
            "checkpoint_id": checkpoint["config"]["configurable"]["checkpoint_id"],
            "values": self._values_json(checkpoint["values"]),
            "next": [],
            "interrupts": b"{}",
        }

    def _values_json(self, values: Any) -> bytes:
        """The JSON of the last values, which mostly were shown last: a long conversation is not encoded twice."""
        shown, data = self._shown
        return data if _are_same(shown, values) else dumps(values)


class InterruptedValues:
    """Sees to it that values say `__interrupt__` when a task waits.

    LangGraph before 1.0 gives the interrupts alone if `values` is streamed, and nothing if `updates` is, too.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], dict[str, Any]] = {}
        self._due: dict[tuple[str, ...], Any] = {}

    def complete(
        self, namespace: tuple[str, ...], mode: str, payload: Any, asked: set[str]
    ) -> tuple[Any, list[dict[str, Any]]]:
        """The payload to be shown, and values that were due before it."""
        if "values" not in asked or mode not in ("values", "updates", "tasks", "debug"):
            return payload, []
        due = self._due.pop(namespace, None)
        last = self._last.get(namespace, {})
        if mode == "values" and isinstance(payload, dict):
            if INTERRUPT in payload:
                return {**last, **payload}, []
            self._last[namespace] = payload
        elif mode == "updates" and isinstance(payload, dict) and payload.get(INTERRUPT):
            self._due[namespace] = payload[INTERRUPT]
        return payload, [{**last, INTERRUPT: due}] if due else []

    def rest(self) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
        """Values that are due at the end."""
        return [
            (namespace, {**self._last.get(namespace, {}), INTERRUPT: due})
            for namespace, due in self._due.items()
        ]


def _are_same(one: Any, other: Any) -> bool:
    """Whether two dictionaries have the very same values under the same keys in the same order."""
    if type(one) is not dict or type(other) is not dict or len(one) != len(other):
        return False
    return all(a == b and one[a] is other[b] for a, b in zip(one, other))


def _with(callbacks: Any, listener: BaseCallbackHandler) -> Any:
    if isinstance(callbacks, BaseCallbackManager):
        manager = callbacks.copy()
        manager.add_handler(listener, inherit=True)
        return manager
    return [*(callbacks or []), listener]


def _debug(payload: dict[str, Any]) -> dict[str, Any]:
    """A debug event; that of a checkpoint also says in short which checkpoints it is about."""
    if payload.get("type") != "checkpoint":
        return payload
    checkpoint = payload["payload"]
    shown = {
        **checkpoint,
        "tasks": [_debug_task(task) for task in checkpoint["tasks"]],
        "checkpoint": _reference(checkpoint["config"]),
        "parent_checkpoint": _reference(checkpoint["parent_config"]),
    }
    return {**payload, "payload": shown}


def _debug_task(task: dict[str, Any]) -> dict[str, Any]:
    state = task.get("state")
    if not isinstance(state, dict) or "configurable" not in state:
        return task
    rest = {name: value for name, value in task.items() if name != "state"}
    return {**rest, "checkpoint": state["configurable"]}


def _reference(config: Any) -> dict[str, Any] | None:
    if not config:
        return None
    place = config["configurable"]
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: place[name] for name in names if name in place}
