"""The JSON Schemas of graphs."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from langgraph.pregel import Pregel

from . import encode
from .graphs import DESCRIBE, Graphs
from .line import Line

_log = logging.getLogger("runloom")

_KEYS = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")


# Answers, by graph and question: the code of a process does not change.
_known: WeakKeyDictionary[Graphs, dict[tuple[str, ...], Any]] = WeakKeyDictionary()


async def schemas(graphs: Graphs, line: Line, body: dict[str, Any]) -> bytes:
    """Answers `schemas`: five schemas as JSON, null where the graph declares none or it has no JSON form."""
    known = _known.setdefault(graphs, {})
    asked = ("schemas", body["graph_id"])
    if asked not in known:
        async with graphs.open(body["graph_id"], access=DESCRIBE, config={"configurable": {}}) as graph:
            known[asked] = encode.dumps(schemas_of(graph))
    return known[asked]


async def subgraphs(graphs: Graphs, line: Line, body: dict[str, Any]) -> list[list[Any]]:
    """Answers `subgraphs`: `[namespace, schemas]` of the graphs in nodes, of all levels if `recurse`."""
    recurse = bool(body.get("recurse"))
    known = _known.setdefault(graphs, {})
    asked = ("subgraphs", body["graph_id"], str(recurse))
    if asked not in known:
        async with graphs.open(body["graph_id"], access=DESCRIBE, config={"configurable": {}}) as graph:
            inner = graph.aget_subgraphs(recurse=recurse)
            known[asked] = [[name, encode.dumps(schemas_of(each))] async for name, each in inner]
    return known[asked]


def schemas_of(graph: Any) -> dict[str, Any]:
    """The schemas of a compiled graph; all null for a graph that is somewhere else."""
    if not isinstance(graph, Pregel):
        return dict.fromkeys(_KEYS)
    context = getattr(graph, "get_context_jsonschema", lambda: None)
    made = (
        _made(graph, graph.get_input_jsonschema),
        _made(graph, graph.get_output_jsonschema),
        _made(graph, lambda: _state_schema(graph)),
        _made(graph, lambda: _config_schema(graph)),
        _made(graph, context),
    )
    return dict(zip(_KEYS, made))


def _made(graph: Pregel, make: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()
    except Exception as error:  # a type that pydantic knows no schema of, and whatever a user's type raises
        _log.warning("graph %r has a schema without a JSON form: %s", graph.name, error)
        return None


def _state_schema(graph: Pregel) -> Any:
    """Of all channels that clients see: what LangGraph would call the output if it were all of them."""
    everything = graph.copy(update={"output_channels": graph.stream_channels_list})
    builder = copy.copy(getattr(graph, "builder", None))
    if hasattr(builder, "state_schema"):
        builder.output_schema = builder.state_schema
        everything.builder = builder
    schema = everything.get_output_jsonschema()
    title = getattr(getattr(builder, "state_schema", None), "__name__", f"{graph.name}State")
    return {**schema, "title": title}


def _config_schema(graph: Pregel) -> Any:
    """Of what `configurable` takes; None if nothing is declared."""
    whole = graph.get_config_jsonschema()
    properties = whole.get("properties", {})
    if "configurable" not in properties:
        return None
    declared = properties["configurable"]
    definitions = whole.get("$defs", {})
    for option in (declared, *declared.get("anyOf", ()), *declared.get("allOf", ())):
        if name := option.get("$ref", "").removeprefix("#/$defs/"):
            schema = definitions.pop(name)
            return {**schema, **({"$defs": definitions} if definitions else {})}
    return declared
