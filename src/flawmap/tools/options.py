"""Fill frozen option dataclasses from a mapping or a TOML file, and turn them back into plain values.

A key that no option has is an error that names the nearest spelling, so that a typing mistake is never a
silent default.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from flawmap.errors import ArgumentError, OptionError
from flawmap.tools.misnamed import mend_name
from flawmap.tools.plain import Reading, to_plain, to_record, to_value

T = TypeVar("T")
_READING = Reading(OptionError, key="option", record="a table of options")
_SEEDS = 2**32
"""How many there are that every library takes."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What every table of options is: its values are of the types that its fields state when it is made.

    A text is taken for a path and a list for a tuple; anything else of another type, and a number that is not
    finite, raises OptionError, and a name that no field has ArgumentError.
    """

    def __new__(cls, *_: Any, **named: Any) -> Self:
        for name, value in named.items():
            if name not in _hints(cls):
                told = mend_name(name, value, _hints(cls), {"": cls}, lambda _: cls)
                raise ArgumentError(f"{cls.__name__}: no option '{name}'{told}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            where = f"{type(self).__name__}.{name}"
            value = to_value(hint, getattr(self, name), where, _READING)
            if any(isinstance(one, float) and not math.isfinite(one) for one in _each(value)):
                raise OptionError(f"{where} is {value}; a finite number was wanted")
            object.__setattr__(self, name, value)
        seed = getattr(self, "seed", None)
        if seed is not None and not 0 <= seed < _SEEDS:
            raise OptionError(f"seed is {seed}; 0 to {_SEEDS - 1} was wanted")


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def read_options(path: Path, kind: type[T]) -> T:
    """The options in a TOML file; nested dataclasses are its tables. Raises OptionError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read the options file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    return from_mapping(kind, values, str(path))


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "options") -> T:
    """An options dataclass from plain values. Raises OptionError for unknown keys and wrong types."""
    return to_record(kind, values, where, _READING)


def to_mapping(options: Any) -> dict[str, Any]:
    """Plain JSON values of an options dataclass: the resolved options that every run stores."""
    return to_plain(options)


def changed(options: T, path: Sequence[str], value: Any) -> T:
    """A copy with the option at `path` (table, …, name) set: how command-line flags override defaults.

    Raises OptionError for a value of another type or outside its range.
    """
    name, *rest = path
    if rest:
        inner = changed(getattr(options, name), rest, value)
    else:
        hint = typing.get_type_hints(type(options))[name]
        inner = to_value(hint, value, f"--{name.replace('_', '-')}", _READING)
    try:
        return dataclasses.replace(options, **{name: inner})  # type: ignore[type-var]
    except ValueError as error:
        raise OptionError(f"{name}: {error}") from error
