"""Finds what a path of `langgraph.json` names: `./folder/file.py:name` or `package.module:name`."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: str, root: Path) -> Any:
    """The object at this path. Raises what the user's module raises, or `ValueError` if this is no path."""
    where, colon, name = path.rpartition(":")
    if not colon or not where or not name:
        raise ValueError(f"{path!r} does not name a graph: expected 'file.py:name' or 'package.module:name'")
    is_file = where.endswith(".py") or "/" in where or "\\" in where
    module = _from_file(root / where) if is_file else importlib.import_module(where)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = ", ".join(sorted(known for known in vars(module) if not known.startswith("_")))
            raise AttributeError(f"{where} has no {name!r}; it has: {known}") from None
    return found


def _from_file(file: Path) -> ModuleType:
    file = file.resolve()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    # Under the name by which the project's other modules know it, if it has one: so it is executed once,
    # its relative imports work, and its classes are the same for everybody.
    name = _importable_name(file)
    if name is not None:
        return importlib.import_module(name)
    name = "runloom_graph_" + re.sub(r"\W", "_", str(file))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _importable_name(file: Path) -> str | None:
    for folder in sys.path:
        try:
            parts = file.with_suffix("").relative_to(Path(folder or ".").resolve()).parts
        except (ValueError, OSError):
            continue
        if not all(part.isidentifier() for part in parts):
            continue
        name = ".".join(parts)
        try:
            spec = importlib.util.find_spec(name)
        except Exception:  # its package does not load; the file alone may
            continue
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file:
            return name
    return None
