"""What the commands share: options in, progress and left-out photos to the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from flawmap.tools.words import counted

if TYPE_CHECKING:
    from flawmap import RunOptions
    from flawmap.pipeline.using import Outcome
    from flawmap.records import Progress

T = TypeVar("T")


class ProgressLines:
    """Progress for logs: a line when a task begins; then, where it takes long, at every tenth of it or half
    minute (never twice within five seconds), and one at its end.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._tasks: dict[str, _Task] = {}

    def __call__(self, what: str, n_done: int, n_total: int) -> None:
        """Say what there is to say; a count that goes back begins the task anew."""
        now = self._clock()
        task = self._tasks.get(what)
        if task is None or n_done < task.n_done:
            self._tasks[what] = _Task(now, now, n_done, n_done, n_done)
            self._write(f"{what} …")
            return
        was_done, task.n_done = task.n_done, n_done
        since_s, is_end = now - task.said_at, n_done == n_total and was_done < n_total
        is_tenth = 0 < n_total <= 10 * (n_done - task.n_said) and since_s >= 5
        if since_s >= 30 or is_tenth or (is_end and now - task.began_at >= 5):
            task.said_at, task.n_said = now, n_done
            of = f"{n_done:,} of {n_total:,}" if n_total else f"{n_done:,}"
            of = "done" if n_done == n_total == 1 else of
            pace = _pace(n_done - task.n_began, n_total - n_done, now - task.began_at)
            self._write(f"{what}: {of}, {_to_text(now - task.began_at)}{pace}")


@dataclass
class _Task:
    began_at: float
    said_at: float
    n_done: int
    n_said: int
    n_began: int
    """What was done already when the task began."""


def _pace(n_done: int, n_left: int, elapsed_s: float) -> str:
    """How many a second and how long it will take, where there is something left to do."""
    if n_done <= 0 or n_left <= 0 or elapsed_s <= 0:
        return ""
    return f", {_speed(n_done / elapsed_s)}, about {_to_text(n_left * elapsed_s / n_done)} left"


def _speed(per_s: float) -> str:
    """How many a second; of what takes long, how long each, as nobody reads 0.009/s."""
    return f"{per_s:.3g}/s" if per_s >= 0.1 else f"{_to_text(1 / per_s)} each"


def _to_text(elapsed_s: float) -> str:
    minutes, seconds = divmod(round(elapsed_s), 60)
    if minutes >= 120:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress]:
    """Progress bars on a terminal, a line now and then elsewhere, nothing when quiet."""
    from flawmap.records import no_progress

    if quiet:
        yield no_progress
    elif not sys.stderr.isatty():
        yield ProgressLines(lambda line: print(line, file=sys.stderr, flush=True))
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text("" if not task.speed else _speed(task.speed))

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Speed(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def bar(what: str, n_done: int, n_total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=n_total or None, completed=n_done)
                bars.update(tasks[what], completed=n_done, total=n_total or None)

            yield bar


def finish(result: Outcome, *written: Path | None, listing: Path | str | None = None) -> None:
    """Print what a job says and which files it was asked to write, list the photos that were left out, and
    exit with 1 where there are any. Where the file `listing` names them all, only the first are printed."""
    for line in (*result.lines, *(f"wrote {file}" for file in written if file is not None)):
        print(line)
    if not result.left_out:
        return
    from flawmap.pipeline.texts import first_lines

    n = len(result.left_out)
    print(f"{counted(n, 'photo')} {'was' if n == 1 else 'were'} left out:", file=sys.stderr)
    reasons = [f"{item.path}: {item.reason}" for item in result.left_out]
    lines = [f"  {reason}" for reason in reasons] if listing is None else first_lines(reasons, f"{listing}")
    for line in lines:
        print(line, file=sys.stderr)
    raise typer.Exit(1)


def to_names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def reading(
    good: str | None = None,
    mask_threshold: int | None = None,
    resize_masks: bool | None = None,
    turn_masks: str | None = None,
    unmasked_good: bool | None = None,
    max_megapixels: float | None = None,
) -> dict[str, Any]:
    """The flags that say how a data set is read, as resolve_options() takes them."""
    return {
        "dataset__good": to_names(good),
        "dataset__mask_threshold": mask_threshold,
        "dataset__resize_masks": resize_masks,
        "dataset__turn_masks": turn_masks,
        "dataset__unmasked_good": unmasked_good,
        "dataset__photos__max_megapixels": max_megapixels,
    }


def resolve_options(config: Path | None, **flags: Any) -> RunOptions:
    """The defaults, then the TOML file, then the flags that were given ("rank__prefer" is [rank] prefer)."""
    from flawmap import RunOptions

    return resolve(RunOptions, config, **flags)


def resolve(kind: type[T], config: Path | None, **flags: Any) -> T:
    """As resolve_options, for options of any kind."""
    from flawmap.tools.options import changed, read_options

    options = read_options(config, kind) if config else kind()
    for name, value in flags.items():
        if value is not None:
            options = changed(options, name.split("__"), value)
    return options
