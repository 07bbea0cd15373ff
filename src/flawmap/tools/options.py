"""Fill frozen option dataclasses from a mapping or a TOML file, and turn them back into plain values.

A key that no option has is an error that names the nearest spelling, so that a typing mistake is never a
silent default.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flawmap.errors import OptionError

T = TypeVar("T")


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
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    filled = {}
    for key, value in values.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(names)}"
            raise OptionError(f"{where}: unknown option '{key}'; {remedy}")
        filled[key] = _convert(hints[key], value, f"{where}: {key}")
    try:
        return kind(**filled)
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from error


def to_mapping(options: Any) -> dict[str, Any]:
    """Plain JSON values of an options dataclass: the resolved options that every run stores."""
    return {f.name: _plain(getattr(options, f.name)) for f in dataclasses.fields(options)}


def changed(options: T, path: Sequence[str], value: Any) -> T:
    """A copy with the option at `path` (table, …, name) set: how command-line flags override defaults.

    Raises OptionError for a value of another type or outside its range.
    """
    name, *rest = path
    if rest:
        inner = changed(getattr(options, name), rest, value)
    else:
        inner = _convert(typing.get_type_hints(type(options))[name], value, f"--{name.replace('_', '-')}")
    try:
        return dataclasses.replace(options, **{name: inner})  # type: ignore[type-var]
    except ValueError as error:
        raise OptionError(f"{name}: {error}") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise OptionError(f"{where}: wanted a table of options; got {value!r}")
        return from_mapping(typing.cast(type, hint), value, where)
    for choice in _choices(hint):
        converted, fits = _fit(choice, value)
        if fits:
            return converted
    raise OptionError(f"{where}: wanted {_describe(hint)}; got {value!r}")


def _choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _fit(hint: Any, value: Any) -> tuple[Any, bool]:
    """(the converted value, whether it fits) for one alternative of a type hint."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value, value in typing.get_args(hint)
    if origin is tuple:
        return (tuple(value), True) if isinstance(value, list | tuple) else (value, False)
    if hint is Path:
        return (Path(value), True) if isinstance(value, str | Path) else (value, False)
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (float(value), True) if is_number else (value, False)
    if hint is int:
        return value, isinstance(value, int) and not isinstance(value, bool)
    return value, isinstance(value, hint) if isinstance(hint, type) else hint is Any


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(v) for v in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint))
