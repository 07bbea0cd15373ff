"""Photos a second of a survey: two workers of one core each against one.

    python benchmarks/survey_workers.py MODEL [--photos FOLDER] [--engine local|ray]

MODEL is a run or model folder; the photos are those of a folder (default: 96 crack photos of the real sets).
Surveys of one and of two workers alternate, each into a new folder. Photos count that are looked at while all
workers work: from when the last of them has done its first photo until when the first has done its last.
Reports are not written. Medians are compared. On a busy machine core-seconds tell more than photos a second.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from running import DATA

from flawmap.pipeline.inspecting import InspectOptions, survey_photos
from flawmap.pipeline.inspectors import open_look
from flawmap.records import InspectedPhoto
from flawmap.stages.survey import Look, SurveyOptions


def main() -> None:
    """Print photos a second for one and for two workers, and how many times as many two do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, default=DATA / "deepcrack" / "images")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--engine", choices=["local", "ray"], default="ray")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    files = sorted(path for path in asked.photos.iterdir() if path.is_file())[: asked.count]
    photos = {path.name: path for path in files}
    if asked.engine == "ray":
        start_ray()
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(asked.rounds):
        for n_workers, rounds in found.items():
            options = SurveyOptions(n_workers, engine=asked.engine)
            rounds.append(measure_speed(asked.model, photos, options))
    print(f"{len(photos)} photos, engine {asked.engine}, {asked.rounds} rounds")
    speeds = {}
    for n_workers, rounds in found.items():
        speeds[n_workers], core_s = map(statistics.median, zip(*rounds, strict=True))
        print(f"{n_workers} worker(s): {speeds[n_workers]:.2f} photos/s, {core_s:.3f} core-seconds a photo")
    print(f"two do {speeds[2] / speeds[1]:.2f} times as many as one")


@dataclass(frozen=True)
class NotingLook:
    """Looks, and notes in a file for each worker when it was done and what it cost."""

    look: Look
    folder: Path

    def __call__(self, path: Path) -> InspectedPhoto:
        """As the look itself."""
        began_s = time.thread_time()
        seen = self.look(path)
        cost_s = time.thread_time() - began_s
        with (self.folder / f"{os.getpid()}-{threading.get_ident()}").open("a") as file:
            file.write(f"{time.monotonic()} {cost_s}\n")  # one clock for all processes of a machine
        return seen


def start_ray() -> None:
    """Start Ray once for all surveys, which join it. Its workers do not stand back behind other work."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )


def measure_speed(model: Path, photos: dict[str, Path], options: SurveyOptions) -> tuple[float, float]:
    """Of one survey: photos a second while all of its workers work, and core-seconds a photo."""
    looking = open_look(model, InspectOptions(), len(photos))
    asked = {"model": looking.model.digest, "options": looking.options}
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "noted"
        noted.mkdir()
        survey_photos(photos, Path(folder) / "survey", NotingLook(looking.look, noted), asked, options)
        workers = [[*map(float, file.read_text().split())] for file in noted.iterdir()]
    times_s = [noted_s[::2] for noted_s in workers]
    core_s = sum(sum(noted_s[1::2]) for noted_s in workers) / len(photos)
    began_s, ended_s = max(map(min, times_s)), min(map(max, times_s))
    n_done = sum(began_s < time_s <= ended_s for worker in times_s for time_s in worker)
    if len(times_s) < (options.n_threads or 1) or n_done < len(photos) / 3:
        sys.exit("one worker had done most before the other began: give more photos (--count)")
    return n_done / (ended_s - began_s), core_s


if __name__ == "__main__":
    main()
