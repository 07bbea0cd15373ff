"""Frozen records to plain JSON values and back, strictly: a key that a record does not have is an error that
names the nearest spelling, and a value of another type is one that says what was wanted and where.
"""

from __future__ import annotations

import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flawmap.errors import FlawmapError, OptionError, known_hint, nearest_hint

T = TypeVar("T")
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    typing.BinaryIO: "an open file",
}
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_NAMED = 6
"""Fields of a record that a message names."""


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
    if isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        wanted = f"{reading.record}, {kind.__name__}({_names(kind)})"
        raise reading.error(f"{where}: wanted {wanted}; got {describe_value(values)}")
    hints = typing.get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise reading.error(f"{where}: unknown {reading.key} '{unknown[0]}'{known_hint(unknown[0], hints)}")
    missing = [f.name for f in fields(kind) if f.name not in values and _is_needed(f)]  # type: ignore[arg-type]
    if missing:
        named = " and ".join(f"no {reading.key} '{name}'" for name in missing)
        raise reading.error(f"{where}: {named}; wanted {kind.__name__}({_names(kind)})")
    filled = {key: to_value(hints[key], value, f"{where}: {key}", reading) for key, value in values.items()}
    try:
        return kind(**filled)
    except (OptionError, TypeError, ValueError) as error:
        raise reading.error(f"{where}: {error}") from error


def _is_needed(one: Field[Any]) -> bool:
    return one.init and one.default is MISSING and one.default_factory is MISSING


def to_value(hint: Any, value: Any, where: str, reading: Reading) -> Any:
    """`value` as the type that a record's field or a function's parameter names. Raises `reading.error`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return to_record(typing.cast(type, hint), value, where, reading)
    if origin in (typing.Union, types.UnionType):
        return _to_one_of(inner, hint, value, where, reading)
    if origin is tuple and isinstance(value, list | tuple):
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(hints) == len(value):
            return tuple(to_value(h, v, where, reading) for h, v in zip(hints, value, strict=True))
    elif origin is Sequence and is_several(value):
        return tuple(to_value(inner[0], item, where, reading) for item in value)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: to_value(inner[1], item, f"{where}.{key}", reading) for key, item in value.items()}
    elif hint is float and value is None and reading.null_is_nan:
        return math.nan
    elif _fits(hint, value):
        convert = {float: float, int: int, Path: Path}.get(hint)
        return convert(value) if convert else value
    raise reading.error(f"{where}: wanted {_describe(hint)}; got {describe_value(value)}{_near(hint, value)}")


def _to_one_of(inner: tuple[Any, ...], hint: Any, value: Any, where: str, reading: Reading) -> Any:
    if value is None and type(None) in inner:
        return None
    choices = [choice for choice in inner if choice is not type(None)]
    if type(value) in choices:
        return value  # an address stays the text that it is where a path could be given too
    if len(choices) == 1:
        return to_value(choices[0], value, where, reading)  # whose message says what is wrong with it
    for choice in choices:
        try:
            return to_value(choice, value, where, reading)
        except reading.error:
            if _is_meant(choice, value):
                raise
    raise reading.error(f"{where}: wanted {_describe(hint)}; got {describe_value(value)}")


def _is_meant(choice: Any, value: Any) -> bool:
    """Whether a value that does not fit can only have been meant for this choice."""
    if is_dataclass(choice):
        return isinstance(value, Mapping)
    return typing.get_origin(choice) in (tuple, Sequence) and is_several(value)


def is_several(value: Any) -> bool:
    """Whether a value stands for several others: a list, a tuple, what a search of a folder gives."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | os.PathLike)


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value needs no more than a conversion of its own kind: whole numbers are floats too."""
    if typing.get_origin(hint) is typing.Literal:
        return isinstance(value, typing.Hashable) and value in typing.get_args(hint)
    if typing.get_origin(hint) is Callable:
        return callable(value)
    if hint in (int, float):
        kind = numbers.Integral if hint is int else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str | os.PathLike)
    if hint is typing.BinaryIO:
        return hasattr(value, "read")
    return hint is Any or (isinstance(hint, type) and isinstance(value, hint))


def _describe(hint: Any) -> str:
    """What a type asks for, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _either([repr(choice) for choice in inner])
    if origin in (typing.Union, types.UnionType):
        choices = [one for one in inner if one is not type(None) and not (one is str and Path in inner)]
        return _either([_describe(one) for one in choices])
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)}: {', '.join(_describe(one) for one in inner)}"
    if origin in (tuple, Sequence):
        return f"a list, each {_describe(inner[0])}"
    if origin is Callable:
        return "a function"
    if is_dataclass(hint):
        return f"{typing.cast(type, hint).__name__}({_names(hint)})"
    return _WORDS.get(hint) or getattr(hint, "__name__", str(hint))


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _names(kind: Any) -> str:
    names = [f"{f.name}=…" for f in fields(kind)]
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])


def describe_value(value: Any) -> str:
    """A wrong value, as short as a message can bear."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _near(hint: Any, value: Any) -> str:
    """The choice that was probably meant, where there are choices."""
    if typing.get_origin(hint) is not typing.Literal or not isinstance(value, str):
        return ""
    choices = [choice for choice in typing.get_args(hint) if isinstance(choice, str)]
    return nearest_hint(value, choices)


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
