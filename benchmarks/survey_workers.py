"""Photos a second of a survey: two workers of one core each against one.

    python benchmarks/survey_workers.py MODEL [--photos FOLDER] [--engine local|ray]

MODEL is a run or model folder; the photos are those of a folder (default: 120 crack photos of the real sets).
Surveys of one and of two workers alternate, each into a new folder. Start-up does not count: the clock of a
survey starts when a tenth of its photos is done. Reports are not written. Medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from running import DATA

from flawmap.pipeline.inspecting import InspectOptions, survey_photos
from flawmap.pipeline.inspectors import open_look
from flawmap.stages.survey import SurveyOptions


def main() -> None:
    """Print photos a second for one and for two workers, and how many times as many two do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, default=DATA / "deepcrack" / "images")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--engine", choices=["local", "ray"], default="ray")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    files = sorted(path for path in asked.photos.iterdir() if path.is_file())[: asked.count]
    photos = {path.name: path for path in files}
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(asked.rounds):
        for n_workers, found in speeds.items():
            found.append(measure_speed(asked.model, photos, SurveyOptions(n_workers, engine=asked.engine)))
    median = {n_workers: statistics.median(found) for n_workers, found in speeds.items()}
    print(f"{len(photos)} photos, engine {asked.engine}, {asked.rounds} rounds")
    for n_workers, speed in median.items():
        print(f"{n_workers} worker(s): {speed:.2f} photos/s")
    print(f"two do {median[2] / median[1]:.2f} times as many as one")


def measure_speed(model: Path, photos: dict[str, Path], options: SurveyOptions) -> float:
    """Photos a second of one survey, from the first tenth on."""
    moments: list[tuple[float, int]] = []

    def note(what: str, n_done: int, n_total: int) -> None:
        if 10 * n_done >= n_total:
            moments.append((time.perf_counter(), n_done))

    looking = open_look(model, InspectOptions(), len(photos))
    asked = {"model": looking.model.digest, "options": looking.options}
    with tempfile.TemporaryDirectory() as folder:
        survey_photos(photos, Path(folder) / "survey", looking.look, asked, options, note)
    (began_s, n_before), (ended_s, n_after) = moments[0], moments[-1]
    return (n_after - n_before) / (ended_s - began_s)


if __name__ == "__main__":
    main()
