"""Write docs/cli.md from every command's --help; with --check only tell whether it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from flawmap.cli import app

TARGET = Path(__file__).with_name("cli.md")


def commands(group: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command's words, groups first."""
    found = [prefix]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*prefix, name))
    return found


def render() -> str:
    """The page as Markdown."""
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"})
    parts = ["# Commands\n\nWritten from `--help` by `python docs/write_cli.py`.\n"]
    for words in commands(get_command(app)):
        result = runner.invoke(app, [*words, "--help"], prog_name="flawmap", terminal_width=100)
        text = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
        parts.append(f"## {' '.join(('flawmap', *words))}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def write_or_check(target: Path, page: str) -> None:
    """Write a page; with --check on the command line, exit with a message where it would change."""
    if "--check" not in sys.argv:
        target.write_text(page, encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != page:
        sys.exit(f"docs/{target.name} is out of date. Write it with: python docs/{Path(sys.argv[0]).name}")


if __name__ == "__main__":
    write_or_check(TARGET, render())
