"""The request for a run, as LangGraph wants it: input, configuration, context."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any
from uuid import UUID

import orjson

from .errors import Invalid
from .factories import User
from .updates import command_of


class RunRequest:
    """One attempt of one run, as `docs/executor.md` describes its request."""

    def __init__(self, body: dict[str, Any]) -> None:
        """Raises `Invalid` if something is missing or makes no sense."""
        try:
            self.run_id: str = body["run_id"]
            self.thread_id: str = body["thread_id"]
            self.assistant_id: str | None = body.get("assistant_id")
            self.graph_id: str = body["graph_id"]
            self.attempt: int = body.get("attempt") or 1
            self.only_input: bool = body.get("work") == "apply_input"
            self.has_input: bool = body.get("input") is not None and body.get("command") is None
            self.stream_modes: list[str] = body.get("stream_modes") or []
            self.subgraphs: bool = bool(body.get("subgraphs"))
            self.durability: str = body.get("durability") or "async"
            self.latest: list[Any] | None = body.get("latest")
            self.trace: dict[str, Any] | None = body.get("trace")
            self.context: Any = _json(body, "context")
            self.config = self._config(_json(body, "config") or {}, _json(body, "metadata") or {})
            self.input = command_of(_json(body, "command")) if body.get("command") else _json(body, "input")
            self.interrupt_before = _nodes(body.get("interrupt_before"))
            self.interrupt_after = _nodes(body.get("interrupt_after"))
        except KeyError as error:
            raise Invalid(f"the request has no {error}") from error
        except (TypeError, ValueError) as error:
            raise Invalid(str(error)) from error

    def continue_from_head(self) -> None:
        """Goes on where this very run left the thread, instead of applying input or command once more."""
        self.input = None
        self.config["configurable"].pop("checkpoint_id", None)

    def arguments(self, graph: Any, known: typing.Collection[str]) -> dict[str, Any]:
        """Keyword arguments for `astream`, as far as this version of it knows them."""
        arguments: dict[str, Any] = {
            "interrupt_before": self.interrupt_before,
            "interrupt_after": self.interrupt_after,
        }
        if "durability" in known:
            arguments["durability"] = self.durability
        elif "checkpoint_during" in known:
            arguments["checkpoint_during"] = self.durability != "exit"
        if "context" in known and self.context is not None:
            arguments["context"] = _fitting(getattr(graph, "context_schema", None), self.context)
        return arguments

    def _config(self, given: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        config = dict(given)
        configurable = dict(config.get("configurable") or {})
        configurable["thread_id"] = self.thread_id
        configurable.setdefault("checkpoint_ns", "")
        for name in ("run_id", "graph_id", "assistant_id"):
            if getattr(self, name) is not None:
                configurable.setdefault(name, getattr(self, name))
        if isinstance(user := configurable.get("langgraph_auth_user"), dict):
            configurable["langgraph_auth_user"] = User(user)
        config["configurable"] = configurable
        # The run's id in the metadata is what makes a retry go on instead of applying its input twice.
        config["metadata"] = {
            "graph_id": self.graph_id,
            "assistant_id": self.assistant_id,
            **(config.get("metadata") or {}),
            **metadata,
            "run_id": self.run_id,
            "run_attempt": self.attempt,
        }
        config.pop("run_id", None)
        if self.attempt == 1:
            # Tracing knows an id once only; later attempts get one of their own.
            config["run_id"] = UUID(self.run_id)
        return config


def _json(body: dict[str, Any], field: str) -> Any:
    value = body.get(field)
    return None if value is None else orjson.loads(value)


def _nodes(value: Any) -> Any:
    return "*" if value == "*" or value == ["*"] else value or None


def _fitting(schema: Any, context: Any) -> Any:
    """The part of the context that the graph's schema knows: clients mirror their configuration into it."""
    if not isinstance(context, dict) or schema is None:
        return context
    if dataclasses.is_dataclass(schema):
        known = {field.name for field in dataclasses.fields(schema)}
    elif hasattr(schema, "model_fields"):
        if schema.model_config.get("extra") == "allow":
            return context
        fields = schema.model_fields
        known = set(fields) | {field.alias for field in fields.values() if field.alias}
    else:
        known = set(getattr(schema, "__annotations__", {})) | set(typing.get_type_hints(schema))
    return {name: value for name, value in context.items() if name in known}
