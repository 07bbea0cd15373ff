"""Frozen records to plain JSON values and back, strictly: a key that a record does not have is an error that
names the nearest spelling, and a value of another type is one that says what was wanted and where.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flawmap.errors import FlawmapError, OptionError

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """How records are read back: the error to raise, and what its message calls a key and a record."""

    error: type[FlawmapError]
    key: str
    record: str
    null_is_nan: bool = False
    """Whether null stands for a float that is not a number, as to_plain() writes it."""


def to_plain(value: Any) -> Any:
    """Plain JSON values of records, arrays and paths; numbers of no meaning (NaN, infinite) become None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [to_plain(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def to_record(kind: type[T], values: Any, where: str, reading: Reading) -> T:
    """A dataclass from plain values. `where` begins every message; raises `reading.error`."""
    if not isinstance(values, Mapping):
        raise reading.error(f"{where}: wanted {reading.record}; got {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(hints), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(hints)}"
        raise reading.error(f"{where}: unknown {reading.key} '{unknown[0]}'; {remedy}")
    filled = {key: to_value(hints[key], value, f"{where}: {key}", reading) for key, value in values.items()}
    try:
        return kind(**filled)
    except OptionError as error:
        if reading.error is OptionError:
            raise
        raise reading.error(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise reading.error(f"{where}: {error}") from error


def to_value(hint: Any, value: Any, where: str, reading: Reading) -> Any:
    """`value` as the type that a record's field names. Raises `reading.error`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return to_record(typing.cast(type, hint), value, where, reading)
    if origin in (typing.Union, types.UnionType):
        return _to_one_of(inner, hint, value, where, reading)
    elif origin is tuple and isinstance(value, list | tuple):
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(hints) == len(value):
            return tuple(to_value(h, v, where, reading) for h, v in zip(hints, value, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {key: to_value(inner[1], item, f"{where}.{key}", reading) for key, item in value.items()}
    elif hint is float and value is None and reading.null_is_nan:
        return math.nan
    elif _fits(hint, value):
        convert = {float: float, Path: Path}.get(hint)
        return convert(value) if convert else value
    raise reading.error(f"{where}: wanted {_describe(hint)}; got {value!r}")


def _to_one_of(inner: tuple[Any, ...], hint: Any, value: Any, where: str, reading: Reading) -> Any:
    records = [choice for choice in inner if is_dataclass(choice)]
    if records and value is not None:
        return to_value(records[0], value, where, reading)  # whose message says what is wrong with it
    for choice in (type(None),) if value is None and type(None) in inner else inner:
        try:
            return to_value(choice, value, where, reading)
        except reading.error:
            continue
    raise reading.error(f"{where}: wanted {_describe(hint)}; got {value!r}")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value needs no more than a conversion of its own kind: whole numbers are floats too."""
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str | Path)
    return hint is Any or (isinstance(hint, type) and isinstance(value, hint))


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def different_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two nested sets of plain options, as a person would name it; three at most."""
    was, new = _flat(before), _flat(now)
    keys = [key for key in sorted(was | new) if was.get(key) != new.get(key)]
    told = [f"{key} ({was.get(key)}, now {new.get(key)})" for key in keys[:3]]
    return told + ([f"{len(keys) - 3} more options"] if len(keys) > 3 else [])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
