"""A run folder: made, gone on with, or replaced, and never anybody else's files."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, option
from flawmap.tools.files import check_folder, write_file
from flawmap.tools.plain import different_options

MARK = "run.json"
"""Written first; tells what the run was asked for, and that the folder is flawmap's."""
FINISHED = "metrics.json"
"""Written last."""
_OURS = (
    "model",
    "work",
    "logs",
    "report.html",
    "ranking.csv",
    "ranking.svg",
    "ranking_best.svg",
    "splits.csv",
    "metrics.json",
    MARK,
)


@dataclass(frozen=True)
class RunFolder:
    """Where one training run writes; `work` holds what only an unfinished run needs."""

    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def model(self) -> Path:
        return self.path / "model"

    def write(self, name: str, content: bytes | str) -> None:
        """A file of the run, whole or not at all."""
        write_file(self.path / name, content)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def finish(self) -> None:
        """Keep TensorBoard's events as `logs`; drop what only an unfinished run needs."""
        for events in sorted(self.work.rglob("logs")):
            if events.is_dir():
                kept = self.path / "logs" / events.parent.relative_to(self.work)
                shutil.rmtree(kept, ignore_errors=True)
                kept.parent.mkdir(parents=True, exist_ok=True)
                events.replace(kept)
        shutil.rmtree(self.work, ignore_errors=True)


def check_run(path: Path, asked: dict[str, Any], *, overwrite: bool, resume: bool) -> RunFolder:
    """The run folder, nothing written yet. `asked` (plain JSON) is what the run is to do.

    Raises OptionError for `overwrite` with `resume`, and where the folder holds an earlier run (without one
    of them), somebody else's files, or an unfinished run that was asked for something else.
    """
    run = RunFolder(path)
    if overwrite and resume:
        resuming, replacing = option("--resume"), option("--overwrite")
        raise OptionError(f"{resuming} goes on with a run, {replacing} begins it anew; give one of them")
    if path.exists() and not path.is_dir():
        raise OptionError(f"{path} is a file; {option('--out')} wants a folder that flawmap may make")
    check_folder(path)
    if path.exists() and any(path.iterdir()):
        if not (path / MARK).is_file():
            raise OptionError(
                f"{path} holds files that are not a flawmap run; choose another folder for {option('--out')}"
            )
        if resume:
            _check_resumable(run, asked)
        elif not overwrite:
            _refuse(run)
    return run


def start_run(run: RunFolder, asked: dict[str, Any], *, resume: bool) -> None:
    """Mark the folder as flawmap's; without `resume`, what an earlier run left in it goes."""
    if not resume:
        for name in _OURS:
            place = run.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    run.write_json(MARK, asked)


def _check_resumable(run: RunFolder, asked: dict[str, Any]) -> None:
    before = json.loads((run.path / MARK).read_text(encoding="utf-8"))
    if (run.path / FINISHED).exists():
        raise OptionError(f"the run in {run.path} is finished; pass {option('--overwrite')} to make it again")
    different = sorted(key for key in asked if before.get(key) != asked[key])
    if different:
        told = [f"another {key}" for key in different if key != "options"]
        if "options" in different:
            told += different_options(before.get("options") or {}, asked["options"])
        raise OptionError(
            f"the run in {run.path} was started differently: {', '.join(told)}; "
            f"ask for the same to resume it, or pass {option('--overwrite')} to begin anew"
        )


def _refuse(run: RunFolder) -> None:
    state = "a finished" if (run.path / FINISHED).exists() else "an unfinished"
    remedy = "" if state == "a finished" else f"{option('--resume')} to go on, "
    raise OptionError(
        f"{run.path} holds {state} run; pass {remedy}{option('--overwrite')} to replace it, or "
        f"another {option('--out')}"
    )


def read_dataset_of(model: Path) -> Path | None:
    """The data set that the run of a model (RUN or RUN/model) was given; None where that is not recorded."""
    for folder in (model, model.parent):
        try:
            named = json.loads((folder / MARK).read_text(encoding="utf-8")).get("dataset")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(named, str):
            return Path(named)
    return None
