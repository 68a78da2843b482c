"""Factories: functions of the user that make a graph each time one is needed.

What a factory wants is read off its signature: nothing, the configuration, a runtime that says why the
graph is needed and for whom, or both. What it returns may be a graph, a builder, something to await, a
generator that yields one, or a context manager around one.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Mapping

EXECUTE = "threads.create_run"
"""The graph is going to be executed."""
UPDATE = "threads.update"
"""The graph computes what an update makes of a state."""
READ = "threads.read"
"""The graph explains a state: what is next, which tasks wait."""
DESCRIBE = "assistants.read"
"""The graph is drawn, or its schemas are read."""


class User(dict):
    """Who asks: the fields of the authenticated user, as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a factory may know about its call. It has what the published SDK calls `ServerRuntime`."""

    access_context: str
    """Why the graph is needed: `EXECUTE`, `UPDATE`, `READ` or `DESCRIBE`."""
    store: Any
    user: User | None = None
    context: Any = None
    """The run's context, only where the graph is executed."""

    @property
    def execution_runtime(self) -> Runtime | None:
        """Itself if the graph is going to be executed: the moment to open what only that needs."""
        return self if self.access_context == EXECUTE else None

    def ensure_user(self) -> User:
        """The authenticated user. Raises `PermissionError` if there is none."""
        if self.user is None:
            raise PermissionError(f"no authenticated user (access_context={self.access_context!r})")
        return self.user


class Factory:
    """A factory and what it wants to be called with."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Reads the signature. Raises `TypeError` if it asks for something that nobody can give."""
        self._function = function
        self._wants: dict[str, str] = {}
        self._positional: list[str] = []
        self._context_type: Any = None
        hints = _type_hints(function)
        for name, parameter in _parameters(function).items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            annotation = hints.get(name, parameter.annotation)
            kind = _kind(name, annotation)
            if kind is None and parameter.default is not parameter.empty:
                continue
            if kind is None and "config" in self._wants.values():
                raise TypeError(f"a graph factory takes a config and a runtime, but not {name!r}")
            # The one argument of an unknown name has always been the configuration.
            self._wants[name] = kind or "config"
            if kind == "runtime":
                self._context_type = next(iter(typing.get_args(annotation)), None)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self._positional.append(name)

    async def make(self, stack: AsyncExitStack, config: dict[str, Any], runtime: Runtime) -> Any:
        """Calls the factory and returns what it makes; what it opened is closed with the stack."""
        if self._context_type is not None and isinstance(runtime.context, dict):
            runtime = dataclasses.replace(runtime, context=_as_type(self._context_type, runtime.context))
        values = {name: config if kind == "config" else runtime for name, kind in self._wants.items()}
        positional = [values.pop(name) for name in self._positional]
        made = self._function(*positional, **values)
        return await unwrap(stack, made)


async def unwrap(stack: AsyncExitStack, made: Any) -> Any:
    """What is inside of an awaitable, a generator or a context manager; left when the stack is closed."""
    if inspect.isawaitable(made):
        made = await made
    if inspect.isasyncgen(made):
        generator = made
        return await stack.enter_async_context(asynccontextmanager(lambda: generator)())
    if inspect.isgenerator(made):
        generator = made
        return stack.enter_context(contextmanager(lambda: generator)())
    if hasattr(made, "__aenter__"):
        return await stack.enter_async_context(made)
    if hasattr(made, "__enter__"):
        return stack.enter_context(made)
    return made


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except NameError:
        # Python 3.14 looks annotations up when they are asked for, also those that only type checkers know.
        import annotationlib

        as_text = annotationlib.Format.STRING
        return inspect.signature(function, annotation_format=as_text).parameters


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        target = function if inspect.isroutine(function) else type(function).__call__
        return typing.get_type_hints(target)
    except Exception:  # a name that only type checkers know: the annotations stay texts
        return {}


def _kind(name: str, annotation: Any) -> str | None:
    said = _spelled(annotation)
    if "ServerRuntime" in said or "_ExecutionRuntime" in said or "_ReadRuntime" in said:
        return "runtime"
    if "RunnableConfig" in said:
        return "config"
    if name in ("runtime", "config"):
        return name
    return None


def _spelled(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    return f"{getattr(annotation, '__name__', '')} {annotation!r}"


def _as_type(wanted: Any, context: dict[str, Any]) -> Any:
    """The context as an instance of the class that the runtime was annotated with, where it is one."""
    if dataclasses.is_dataclass(wanted) or hasattr(wanted, "model_validate"):
        return wanted(**context)
    return context
