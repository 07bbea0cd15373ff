"""What is wrong with a request, in the house's words: what was found, what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flawmap.errors import known_hint

_MOST_SHOWN = 60
"""Characters of a value that are sent back."""


def tell_refused(errors: Iterable[Mapping[str, Any]]) -> str:
    """One line of what pydantic found wrong with a request; each as "where: found; wanted"."""
    told = []
    for one in errors:
        where = ".".join(map(str, one["loc"][1:]))
        told.append(f"{where}: " * bool(where) + _tell(one))
    return "; ".join(told)


def _tell(error: Mapping[str, Any]) -> str:
    kind, about = error["type"], error.get("ctx") or {}
    made = _WORDS.get(kind)
    if made is not None:
        return made(error.get("input"), about)
    wanted = next((words for start, words in _KINDS if kind.startswith(start)), None)
    if wanted is not None:
        return f"found {_shown(error.get('input'))}; wanted {wanted}"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text if kind == "value_error" else text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    """A value as it came, short enough for a line. It need not be text that can be sent back as it is."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = "null" if value is None else ascii(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}\N{HORIZONTAL ELLIPSIS}"


def _literal(value: Any, about: Mapping[str, Any]) -> str:
    known = [part.strip("'") for part in str(about["expected"]).replace(" or ", ", ").split(", ")]
    return f"found {_shown(value)}{known_hint(value if isinstance(value, str) else '', known)}"


def _length(limit: str, words: str) -> Callable[[Any, Mapping[str, Any]], str]:
    def made(value: Any, about: Mapping[str, Any]) -> str:
        n = about.get("actual_length", len(value) if hasattr(value, "__len__") else "other")
        return f"found {n}; wanted {words.format(about[limit])}"

    return made


def _bound(limit: str, words: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda value, about: f"found {_shown(value)}; wanted {words.format(about[limit])}"


_WORDS: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda _value, _about: "is missing",
    "json_invalid": lambda _value, about: f"wanted JSON, which this is not: {about.get('error', '')}",
    "literal_error": _literal,
    "enum": _literal,
    "string_pattern_mismatch": _bound("pattern", "a text of the form {}"),
    "string_too_short": _length("min_length", "{} characters or more"),
    "string_too_long": _length("max_length", "{} characters at most"),
    "too_short": _length("min_length", "{} or more"),
    "too_long": _length("max_length", "{} at most"),
    "greater_than_equal": _bound("ge", "{} or more"),
    "greater_than": _bound("gt", "more than {}"),
    "less_than_equal": _bound("le", "{} at most"),
    "less_than": _bound("lt", "less than {}"),
}
_KINDS = (
    ("int_", "a whole number"),
    ("float_", "a number"),
    ("finite_number", "a number that is finite"),
    ("string_", "a text"),
    ("bool_", "true or false"),
    ("list_", "a list"),
    ("tuple_", "a list"),
    ("model_", "an object"),
    ("dict_", "an object"),
)
"""What is wanted where a kind of error begins so."""
