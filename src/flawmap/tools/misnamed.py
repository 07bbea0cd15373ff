"""A name that a function or a table of options does not have: what was meant, and where it goes instead."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from flawmap.errors import known_hint, nearest
from flawmap.tools.plain import describe_value

Find = Callable[[str], Any]
"""Gives what has a public name, or raises AttributeError."""


def mend_name(name: str, value: Any, known: Collection[str], tables: Mapping[str, Any], public: Find) -> str:
    """What a message adds, from "; " on. `known` are the names that there are; `tables` the types, by the
    name of the argument (a table itself: ""), that may hold the option that was meant.

    It is shown where it goes, with its `value`: who writes `train(…, epochs=3)` then copies
    `options=RunOptions(train={'epochs': 3})`.
    """
    places: dict[str, list[_Place]] = {}
    for argument, hint in tables.items():
        for kind in _tables_in(hint):
            for path in _paths(kind):
                places.setdefault(path[-1], []).append(_Place(argument, kind, path))
    near = name if name in places else nearest(name, places)
    if near is None or (near != name and nearest(name, known) is not None):
        return known_hint(name, known)
    # The shallowest is the one that is handed to the others; two of two stages are each its own.
    depth = min(len(place.path) for place in places[near])
    found = [place for place in places[near] if len(place.path) == depth][: 2 if depth == 2 else 1]
    told = " or ".join(_spell(place, value, public) for place in found)
    return f"; it is an option: {told}" if near == name else f"; did you mean the option '{near}': {told}?"


@dataclass(frozen=True)
class _Place:
    """Where an option stands: in an argument, whose table it is, and the names that lead to it there."""

    argument: str
    kind: type
    path: tuple[str, ...]


def _tables_in(hint: Any) -> list[type]:
    """The dataclasses that a value of this type may be."""
    return [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]


def _paths(kind: type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names that lead to each option of a table and of the tables in it."""
    for name, hint in typing.get_type_hints(kind).items():
        yield (*above, name)
        for inner in _tables_in(hint):
            yield from _paths(inner, (*above, name))


def _spell(place: _Place, value: Any, public: Find) -> str:
    """How an option is given in Python, such as options=RunOptions(train={'epochs': 3})."""
    wanted = place.kind
    for name in place.path:
        wanted = next(iter(_tables_in(typing.get_type_hints(wanted)[name])), None)
    is_short = isinstance(value, str | int | float | None) and wanted is None
    text = describe_value(value) if is_short else "…"
    for name in reversed(place.path[1:]):
        text = f"{{'{name}': {text}}}"
    first, argument = place.path[0], f"{place.argument}=" if place.argument else ""
    try:
        public(place.kind.__name__)
    except AttributeError:
        return f"{argument}{{'{first}': {text}}}"
    return f"{argument}{place.kind.__name__}({first}={text})"
