"""Runs in traces: what the worker hears of nodes, and what clients do not."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest

from runloom_executor import traces
from runloom_executor.events import EventMapper

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BEGINS = {"id": "1", "name": "node", "input": {}, "triggers": []}


class Facts:
    messages_channel = None
    shared_subgraph_nodes: frozenset[str] = frozenset()


def test_nodes_are_told_to_the_worker_and_not_to_clients() -> None:
    told: list[list[Any]] = []
    mapper = EventMapper(["values"], False, Facts(), told.append)
    assert "tasks" in mapper.stream_modes()
    ends = [
        {"id": "1", "name": "node", "error": None, "result": {}, "interrupts": []},
        {"id": "2", "name": "node", "error": "E", "result": {}, "interrupts": []},
        {"id": "3", "name": "node", "error": None, "result": {}, "interrupts": [{"value": 1}]},
    ]
    for task in [BEGINS, *ends]:
        assert mapper.map(("tasks", task)) == []
    assert told == [["1", "node"], ["1", "node", "success"], ["2", "node", "error"], ["3", "node", "paused"]]


def test_who_asks_for_tasks_gets_them_all_the_same() -> None:
    told: list[list[Any]] = []
    mapper = EventMapper(["tasks"], False, Facts(), told.append)
    assert [event[0] for event in mapper.map(("tasks", BEGINS))] == ["tasks"]
    assert told == [["1", "node"]]
    assert "tasks" not in EventMapper(["values"], False, Facts()).stream_modes()


def test_the_current_context_is_that_of_the_run() -> None:
    trace = pytest.importorskip("opentelemetry.trace")

    def attached(given: dict[str, Any] | None) -> int:
        traces.attach(given)
        return trace.get_current_span().get_span_context().span_id

    given = {"traceparent": PARENT, "tracestate": "a=1", "nodes": False}
    assert contextvars.copy_context().run(attached, given) == 0x00F067AA0BA902B7
    assert contextvars.copy_context().run(attached, None) == 0
    assert traces.trace_id_of(given) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert traces.trace_id_of(None) is None
