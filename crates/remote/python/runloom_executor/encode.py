"""Values of users as JSON, in the shape that clients know."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import json
import math
import re
from collections import deque
from collections.abc import Mapping, Set, ValuesView
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Send

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


class EncodeError(ValueError):
    """A value that has no JSON form: it contains itself, or is nested too deeply, or refuses."""


def dumps(value: Any) -> bytes:
    """`value` as one JSON document in UTF-8.

    Messages and models become objects of their fields, exceptions `{"error", "message"}`, sets lists,
    times ISO 8601, durations seconds, bytes base64; NaN and infinities become null. What nobody knows a
    form of becomes its `repr`. Raises `EncodeError`.
    """
    try:
        return orjson.dumps(value, _simpler, OPTIONS)
    except TypeError:
        return _dumps_anything(value)


def _simpler(value: Any) -> Any:
    """One step from what orjson does not know towards what it does."""
    if isinstance(value, BaseMessage):
        return value.model_dump()
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _dump_model(dump)
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else list(value)
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Set, deque, ValuesView)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # of numpy and alike, where orjson cannot read the memory
        return value.tolist()
    if hasattr(value, "__fields__") and callable(dump := getattr(value, "dict", None)):
        if not isinstance(value, type):
            return dump()  # a pydantic 1 model
    return repr(value) if isinstance(value, type) or type(value).__str__ is object.__str__ else str(value)


def _dump_model(dump: Any) -> Any:
    """The fields of a pydantic 2 model: of what its values are, not of what they are declared as."""
    try:
        return dump(serialize_as_any=True, warnings=False)
    except TypeError:  # the model overrides the method, or pydantic is older
        return dump()


def _dumps_anything(value: Any) -> bytes:
    """Slower, for what orjson refuses: integers above 64 bits, lone surrogates, odd keys."""
    try:
        text = json.dumps(_plain(value, ()), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise EncodeError("the value is nested too deeply for JSON") from error
    except EncodeError:
        raise
    except Exception as error:
        raise EncodeError(f"the value has no JSON form: {error}") from error
    return text.encode()


def _plain(value: Any, around: tuple[int, ...]) -> Any:
    """`value` in terms of what JSON has. `around` are the identities of the values that contain it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, around)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if id(value) in around:
        raise EncodeError("the value contains itself")
    inside = (*around, id(value))
    if isinstance(value, dict):
        return {_key(key): _plain(item, inside) for key, item in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return [_plain(item, inside) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "model_dump"):
        shown = (field.name for field in fields(value) if not field.name.startswith("_"))
        return {name: _plain(getattr(value, name), inside) for name in shown}
    return _plain(_simpler(value), inside)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, tuple):
        return _text(str(key))
    simple = _plain(key, ())
    return simple if isinstance(simple, str) else json.dumps(simple)


def _text(text: str) -> str:
    """The text with halves of surrogate pairs joined, and lone halves replaced."""
    if text.isascii():
        return str(text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
