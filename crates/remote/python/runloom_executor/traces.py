"""The trace that a run belongs to: user code finds it as OpenTelemetry wants, the worker hears of nodes."""

from __future__ import annotations

from typing import Any, Callable

_extract: Callable[[dict[str, str]], Any] | None = None
_attach: Callable[[Any], Any] | None = None
_looked = False


def attach(trace: dict[str, Any] | None) -> None:
    """Makes spans of the code that executes here and of all that it starts belong to `trace`.

    Only if the project has OpenTelemetry's API; it is loaded for the first run that belongs to a trace.
    """
    if not trace:
        return
    _look()
    if _extract is None or _attach is None:
        return
    headers = {name: trace[name] for name in ("traceparent", "tracestate") if trace.get(name)}
    # Not to be detached: the context ends with the task whose it is.
    _attach(_extract(headers))


def _look() -> None:
    global _extract, _attach, _looked
    if _looked:
        return
    _looked = True
    try:
        from opentelemetry.context import attach as attach_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except Exception:  # It is not there, or it is broken, which is no run's business.
        return
    _extract, _attach = TraceContextTextMapPropagator().extract, attach_context


def trace_id_of(trace: dict[str, Any] | None) -> str | None:
    """The id in the middle of a `traceparent`."""
    return trace["traceparent"].split("-")[1] if trace else None


def node_of(task: dict[str, Any]) -> list[Any]:
    """What the worker is told of a task that LangGraph shows: `[id, node]` or `[id, node, outcome]`."""
    node = [task["id"], task["name"]]
    if "triggers" in task:
        return node
    if task.get("error"):
        return [*node, "error"]
    return [*node, "paused" if task.get("interrupts") else "success"]
