"""What a public function is given is of the types that it states, or refused before anything else happens.

Without this a slip such as `measure("mask.png", scale=0.1)` ends somewhere inside, in an error that speaks of
attributes. `flawmap.__getattr__` puts it around every public function, so that none has to think of it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flawmap.errors import ArgumentError, OptionError
from flawmap.tools.misnamed import mend_name
from flawmap.tools.plain import Reading, to_value

_READING = Reading(OptionError, key="option", record="options")


@functools.cache
def checked(function: Callable[..., Any], public: Callable[[str], Any]) -> Callable[..., Any]:
    """`function`, which first holds what it is given against its signature.

    `public` finds a public name, or raises AttributeError: a module knows some names only to type checkers.
    What searches a folder (`Path.glob`) is taken for a list. Raises OptionError for another type, and
    ArgumentError for arguments that it does not have or lacks.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def check_and_call(*given: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*given, **named)
        except TypeError as error:
            hints = {
                name: to_type(parameter.annotation, function.__module__, public)
                for name, parameter in signature.parameters.items()
            }
            told = _tell_misfit(signature, hints, given, named, public) or str(error)
            raise ArgumentError(f"{function.__name__}(): {told}") from None
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if value is not parameter.default and isinstance(parameter.annotation, str):
                hint = to_type(parameter.annotation, function.__module__, public)
                bound.arguments[name] = to_value(hint, value, name, _READING)
        return function(*bound.args, **bound.kwargs)

    check_and_call.__module__ = "flawmap"  # where pickle, and so other processes, find it again
    return check_and_call


def to_type(annotation: str, module: str, public: Callable[[str], Any]) -> Any:
    """The type that an annotation's text means in the module that it stands in."""
    return eval(annotation, vars(sys.modules[module]), _PublicNames(public))


class _PublicNames(dict[str, Any]):
    """Names that are looked for when they are asked for."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> Any:
        try:
            return self._find(name)
        except AttributeError:
            raise KeyError(name) from None


def _tell_misfit(
    signature: inspect.Signature,
    hints: Mapping[str, Any],
    given: tuple[Any, ...],
    named: Mapping[str, Any],
    public: Callable[[str], Any],
) -> str:
    """What is wrong with arguments that a function cannot take, and how to mend it; "" for anything rare."""
    unknown = next((name for name in named if name not in hints), None)
    if unknown is not None:
        return f"no argument '{unknown}'{mend_name(unknown, named[unknown], hints, hints, public)}"
    parameters = signature.parameters.values()
    by_place = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    if len(given) > len(by_place):
        others = ", ".join(f"{one.name}=…" for one in parameters if one.kind is one.KEYWORD_ONLY)
        remedy = f"name the others: {others}" if others else "there are no others"
        wanted = f"{len(by_place)} by their place ({', '.join(by_place)})"
        return f"{len(given)} arguments without a name, where it takes {wanted}; {remedy}"
    taken = {*by_place[: len(given)], *named}
    needed = [one.name for one in parameters if one.default is one.empty]
    missing = [name for name in needed if name not in taken]
    return f"'{missing[0]}' is missing; wanted {', '.join(needed)}" if missing else ""
