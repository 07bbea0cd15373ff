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
def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which first holds what it is given against its annotations.

    What searches a folder (`Path.glob`) is taken for a list. Raises OptionError for another type.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def check_and_call(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if value is not parameter.default and isinstance(parameter.annotation, str):
                hint = _to_type(parameter.annotation, function.__module__)
                bound.arguments[name] = to_value(hint, value, name, _READING)
        return function(*bound.args, **bound.kwargs)

    check_and_call.__module__ = "flawmap"  # where pickle, and so other processes, find it again
    return check_and_call


def _to_type(annotation: str, module: str) -> Any:
    """The type that an annotation's text means in the module that it stands in."""
    return eval(annotation, vars(sys.modules[module]), _PublicNames())


class _PublicNames(dict[str, Any]):
    """flawmap's own names, loaded when they are asked for: a module knows some only to type checkers."""

    def __missing__(self, name: str) -> Any:
        import flawmap

        if name not in flawmap.__all__:
            raise KeyError(name)
        return getattr(flawmap, name)
