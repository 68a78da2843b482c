"""Values of users as JSON, in the shape that clients know."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import ipaddress
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

# An escaped NUL in JSON: after an even number of backslashes.
NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
REPLACEMENT = rb"\1" + "\ufffd".encode()

ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Interface,
    ipaddress.IPv6Network,
)


class EncodeError(ValueError):
    """A value that has no JSON form: it contains itself, or is nested too deeply, or refuses."""


def dumps(value: Any) -> bytes:
    """`value` as one JSON document in UTF-8.

    Messages and models become objects of their fields, exceptions `{"error", "message"}`, sets lists,
    times ISO 8601, durations seconds, bytes base64. NaN, infinities and objects that say nothing about
    themselves become null; what is no Unicode text, and NUL, which databases refuse, becomes U+FFFD.
    Raises `EncodeError`.
    """
    try:
        data = orjson.dumps(value, _simpler, OPTIONS)
    except TypeError:
        data = _dumps_anything(value)
    return NUL.sub(REPLACEMENT, data) if rb"\u0000" in data else data


def _simpler(value: Any) -> Any:
    """One step from what orjson does not know towards what it does."""
    if isinstance(value, BaseMessage):
        return value.model_dump()
    if isinstance(value, type):
        return None
    if callable(dump := getattr(value, "model_dump", None)):
        return _dump_model(dump)
    if callable(fields_of := getattr(value, "_asdict", None)):  # of a named tuple
        return fields_of()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    if isinstance(value, Send):
        return {"node": value.node, "args": value.arg}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (tuple, Set, deque, range, ValuesView)):
        return list(value)
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.tzinfo):
        return value.tzname(None)
    if isinstance(value, decimal.Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, (PurePath, *ADDRESSES)):
        return str(value)
    if callable(to_list := getattr(value, "tolist", None)):  # of numpy, where orjson cannot read the memory
        return to_list()
    if hasattr(value, "__fields__") and callable(dump := getattr(value, "dict", None)):
        return dump()  # a pydantic 1 model
    return None


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
    if isinstance(value, enum.Enum):
        return _plain(value.value, around)
    if isinstance(value, str):
        return _text(value)
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
    if is_dataclass(value) and not isinstance(value, type):
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
