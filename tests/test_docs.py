"""The documentation tells the truth: commands exist, take these options, and every public name is there."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from typer.main import get_command

import flawmap
from flawmap import errors
from flawmap.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]


COMMANDS = get_command(app)


@functools.cache
def shell_lines() -> list[str]:
    lines = []
    for page in PAGES:
        if page.name == "cli.md" or not page.exists():
            continue
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        found = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
        found += re.findall(r"`(flawmap [^`]+)`", text)
        lines += [line for line in found if line.startswith("flawmap ") and " " in line]
    return sorted(set(lines))


@pytest.mark.parametrize("line", shell_lines())
def test_documented_commands_can_be_given(line: str) -> None:
    words = shlex.split(line)[1:]
    command = COMMANDS
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    if not words and hasattr(command, "commands"):
        return
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known | {"--help"}, f"{line}: no option {word}"


def test_there_are_commands_in_the_documentation() -> None:
    assert len(shell_lines()) > 10


def test_every_command_is_documented_as_command_and_as_python() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS.commands:
        if name != "data":
            assert f"`flawmap {name}" in text and f"flawmap.{name.replace('-', '_')}(" in text, name
    assert all(f"flawmap data {name}" in text for name in ("sample", "fetch", "convert", "export-reviews"))


@pytest.mark.parametrize("script", ["write_cli.py", "write_python.py"])
def test_written_pages_are_up_to_date(script: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_functions_return_is_on_the_python_page() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in flawmap.__all__:
        thing = getattr(flawmap, name)
        if inspect.isfunction(thing):
            returned = inspect.signature(thing).return_annotation
            assert f"### flawmap.{name}\n" in text
            for kind in returned.split(" | "):
                assert f"### {kind}\n" in text or kind in ("tuple[str, ...]", "np.ndarray", "None", "str"), (
                    kind
                )


def test_public_names_are_all_there() -> None:
    for name in flawmap.__all__:
        assert getattr(flawmap, name) is not None
        assert getattr(flawmap, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = flawmap.no_such_name


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        if page.exists():
            for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8")):
                if not target.startswith("http"):
                    assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_options_in_messages_exist_in_both_worlds() -> None:
    def flags(command) -> set[str]:
        inner = getattr(command, "commands", {}).values()
        return {name for p in command.params for name in p.opts}.union(*map(flags, inner))

    known = flags(COMMANDS)
    arguments = {name for n in flawmap.__all__ for name in _arguments(getattr(flawmap, n))}
    for flag, python in errors._IN_PYTHON.items():
        assert flag in known, flag
        table, _, path = python.partition(".")
        if table == "options":
            is_run = hasattr(flawmap.RunOptions(), path.split(".")[0])
            attrgetter(path)(flawmap.RunOptions() if is_run else flawmap.InspectOptions())
        else:
            assert python.partition("=")[0] in arguments, python


def _arguments(thing: object) -> list[str]:
    return list(inspect.signature(thing).parameters) if inspect.isfunction(thing) else []
