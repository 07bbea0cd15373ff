"""What a public function is given is of the types that it states, or refused before anything else happens.

Without this a slip such as `measure("mask.png", scale=0.1)` ends somewhere inside, in an error that speaks of
attributes. `flawmap.__getattr__` puts it around every public function, so that none has to think of it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from flawmap.errors import OptionError
from flawmap.tools.plain import Reading, to_value

_READING = Reading(OptionError, key="option", record="options")


@functools.cache
def checked(function: Callable[..., Any], public: Callable[[str], Any]) -> Callable[..., Any]:
    """`function`, which first holds what it is given against its annotations.

    `public` finds a public name, or raises AttributeError: a module knows some names only to type checkers.
    What searches a folder (`Path.glob`) is taken for a list. Raises OptionError for another type.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def check_and_call(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
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
