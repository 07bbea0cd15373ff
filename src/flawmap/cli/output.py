"""What the commands share: options in, progress and left-out photos to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawmap import RunOptions
    from flawmap.pipeline.using import Outcome
    from flawmap.records import Progress


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress]:
    """Progress bars on a terminal, one line a task elsewhere, nothing when quiet."""
    from flawmap.records import no_progress

    if quiet:
        yield no_progress
    elif not sys.stderr.isatty():
        seen: set[str] = set()

        def line(what: str, n_done: int, n_total: int) -> None:
            if what not in seen:
                seen.add(what)
                print(f"{what} …", file=sys.stderr, flush=True)

        yield line
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def bar(what: str, n_done: int, n_total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=n_total or None)
                bars.update(tasks[what], completed=n_done, total=n_total or None)

            yield bar


def finish(result: Outcome) -> None:
    """Print what a job says, list the photos that were left out, and exit with 1 where there are any."""
    for line in result.lines:
        print(line)
    if not result.left_out:
        return
    print(f"{len(result.left_out)} photo(s) were left out:", file=sys.stderr)
    for item in result.left_out:
        print(f"  {item.path}: {item.reason}", file=sys.stderr)
    raise typer.Exit(1)


def to_names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def resolve_options(config: Path | None, **flags: Any) -> RunOptions:
    """The defaults, then the TOML file, then the flags that were given ("rank__prefer" is [rank] prefer)."""
    from flawmap import RunOptions
    from flawmap.tools.options import changed, read_options

    options = read_options(config, RunOptions) if config else RunOptions()
    for name, value in flags.items():
        if value is not None:
            options = changed(options, name.split("__"), value)
    return options
