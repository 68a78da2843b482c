"""Graphs as drawings."""

from __future__ import annotations

from typing import Any

from . import encode
from .graphs import DESCRIBE, Graphs
from .line import Line


async def drawing(graphs: Graphs, line: Line, body: dict[str, Any]) -> bytes:
    """Answers `drawing`: `{nodes, edges}` as JSON, with subgraphs unfolded `xray` levels deep."""
    config: Any = {"configurable": {}}
    async with graphs.open(body["graph_id"], access=DESCRIBE, config=config) as graph:
        drawn = await graph.aget_graph(config, xray=body.get("xray") or False)
        return encode.dumps(drawn.to_json())
