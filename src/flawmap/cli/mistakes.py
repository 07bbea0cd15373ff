"""Mistakes in what is typed, in one line as all others are."""

from __future__ import annotations

import re
from typing import Any

import typer

from flawmap.errors import OptionError, nearest_hint

_UsageError: Any = typer.BadParameter.__base__
_STOPPED = 130
"""What the library ends with where somebody presses Ctrl-C."""
_WANTED = {
    r"greater than or equal to (\S+)": r"\1 or more",
    r"less than or equal to (\S+)": r"\1 or less",
    r"a valid integer": "a whole number",
    r"a valid number": "a number",
}
"""How the library describes a value that it wanted, and how we do."""


def run_app(app: typer.Typer) -> int:
    """Run the command that was typed; its exit code. Raises OptionError for words missing or wrong."""
    try:
        code = app(prog_name="flawmap", standalone_mode=False)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return error.exit_code
        raise OptionError(_to_line(error)) from error
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == _STOPPED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _to_line(error: Any) -> str:
    """What was found, what was wanted, or where it stands."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    more = f"; see '{error.ctx.command_path} --help'" if error.ctx is not None else ""
    param = getattr(error, "param", None)
    if hasattr(error, "possibilities") and error.ctx is not None:
        named, params = error.option_name, error.ctx.command.get_params(error.ctx)
        known = [name for one in params for name in one.opts if name.startswith("-")]
        return f"there is no option {named}{nearest_hint(named, known) or more}"
    if param is None:
        return f"{_small(message)}{'' if 'Did you mean' in message else more}"
    name = max(param.opts, key=len)
    if "Missing" in type(error).__name__:
        return f"{name} is missing{more}"
    return f"{name}: {_to_wanted(error.message)}"


def _to_wanted(message: str) -> str:
    """The library's words on a value in ours; those that are not known as they are."""
    chosen = re.search(r"'(.*)' is not one of '(.*)'", message)
    if chosen is not None:
        got, choices = chosen[1], chosen[2].split("', '")
        either = "', '".join(choices[:-1])
        return f"wanted '{either}' or '{choices[-1]}'; got '{got}'{nearest_hint(got, choices)}"
    for theirs, ours in _WANTED.items():
        found = re.search(theirs, message)
        if found is not None:
            return f"wanted {found.expand(ours)}"
    return _small(message)


def _small(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"
