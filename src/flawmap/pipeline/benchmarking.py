"""How fast a model is in every form that this machine can run, and whether that form may stand for it."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flawmap.errors import FlawmapError, OptionError
from flawmap.pipeline.agreeing import CheckPhotos, Form, Loaded, compare_models, read_check_photos
from flawmap.pipeline.exporting import divide, read_calibration, read_plain_bundle, size_mb
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import Outcome, load
from flawmap.records import Precision, Progress, no_progress
from flawmap.stages.benchmark import Timing, measure_speed
from flawmap.stages.export import versions
from flawmap.stages.export.agreement import Agreement
from flawmap.stages.export.forms import (
    FORMS,
    Prepared,
    find_obstacle,
    has_converter,
    prepare_calibration,
    to_form,
)
from flawmap.tools.bundle import Bundle, write_files
from flawmap.tools.devices import Device
from flawmap.tools.files import check_files, write_json
from flawmap.tools.photos import read_images
from flawmap.tools.plain import to_plain
from flawmap.tools.runtime import RUNTIME_OF, Runtime, RuntimeOptions, n_usable_cores
from flawmap.tools.words import counted

T = TypeVar("T")
_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16", "int8")
_BUSY = 0.3
"""Load average above which the machine did something else."""
_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}


@dataclass(frozen=True)
class BenchmarkRow:
    """One form of a model on this machine."""

    runtime: Runtime
    precision: Precision
    size_mb: float | None = None
    """Of the files, in millions of bytes."""
    timing: Timing | None = None
    agreement: Agreement | None = None
    """What it says beside the file that training wrote, run by ONNX Runtime."""
    reason: str = ""
    """Why it was not run; empty where it was."""

    @property
    def passes(self) -> bool:
        """Whether `flawmap export` would write it."""
        return self.agreement is not None and self.agreement.passes


@dataclass(frozen=True, kw_only=True)
class Benchmarked(Outcome):
    """Outcome of `benchmark`."""

    rows: tuple[BenchmarkRow, ...]
    """Every form, also those that could not be run."""
    machine: dict[str, Any]
    """Processor, cores, threads, and how busy the machine was before."""


def benchmark(
    model: Path | str,
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    json_file: Path | str | None = None,
    device: Device = "cpu",
    progress: Progress = no_progress,
) -> Benchmarked:
    """Make every form of a model that this machine can run, hold it against the first and time it.

    Nothing is kept but the table. Times are of photos in memory, decoding not counted; rounds alternate
    between the forms. What is not installed is listed with the reason. Where the processor is shared, the
    range of the rounds tells. Raises OptionError where no form can be run.
    """
    options = (options or RunOptions()).resolved()
    check_files(json_file, inputs=[dataset], holds=['"machine"', '"load_before"'])
    bundle = read_plain_bundle(model)
    found = read_check_photos(Path(dataset), bundle.spec, options, progress)
    machine = _describe_machine(options, device)
    runtime = RuntimeOptions(n_threads=options.embed.n_threads, cache=options.cache)
    calibration, check = divide(found, bundle, _PRECISIONS, options)
    with tempfile.TemporaryDirectory() as folder:
        made = _make_forms(bundle, Path(folder), calibration, options, progress)
        models, reasons = _load_all(made, replace(runtime, device=device))
        if not models:
            raise OptionError(f"no form of {model} can be run ({device}): {_join(reasons)}")
        agreements = compare_models(load(bundle.folder, runtime), models, check, options, progress)
        timings = _time(models, check, options, progress)
        sizes = {form: size_mb(model.bundle) for form, model in models.items()}
    rows = tuple(
        BenchmarkRow(RUNTIME_OF[kind], precision, reason=reasons[kind, precision])
        if (kind, precision) in reasons
        else BenchmarkRow(
            RUNTIME_OF[kind],
            precision,
            sizes[kind, precision],
            timings[kind, precision],
            agreements[kind, precision],
        )
        for kind, precision in made
    )
    if json_file is not None:
        write_json(Path(json_file), {"machine": machine, "rows": [_to_json(row) for row in rows]})
    lines = _to_lines(rows, machine, len(check.photos))
    return Benchmarked(lines=lines, left_out=found.unreadable, rows=rows, machine=machine)


def _load_all(
    made: Mapping[Form, Bundle | str], runtime: RuntimeOptions
) -> tuple[dict[Form, Loaded], dict[Form, str]]:
    """The models that can be opened, and why the others cannot."""
    models: dict[Form, Loaded] = {}
    reasons: dict[Form, str] = {}
    for form, one in made.items():
        opened = one if isinstance(one, str) else _try(load, one.folder, runtime)
        if isinstance(opened, str):
            reasons[form] = opened
        else:
            models[form] = opened
    return models, reasons


def _join(reasons: Mapping[Form, str]) -> str:
    """Every reason once, with the forms that it holds for."""
    forms: dict[str, list[str]] = {}
    for (kind, precision), reason in reasons.items():
        forms.setdefault(reason, []).append(f"{_NAMES[RUNTIME_OF[kind]]} {precision}")
    return "; ".join(f"{', '.join(names)}: {reason.rstrip('.')}" for reason, names in forms.items())


def _make_forms(
    bundle: Bundle, folder: Path, calibration: CheckPhotos | None, options: RunOptions, progress: Progress
) -> dict[Form, Bundle | str]:
    """Every form that there is, written into `folder`, or why it cannot be had here."""
    forms: list[Form] = [(kind, one) for kind in RUNTIME_OF for one in _PRECISIONS if (kind, one) in FORMS]
    prepared = prepare_calibration(bundle.spec, read_calibration(calibration, options))
    made: dict[Form, Bundle | str] = {}
    for n_done, (kind, precision) in enumerate(forms):
        progress("converting into other forms", n_done, len(forms))
        obstacle = find_obstacle(kind, precision, bundle.spec)
        if obstacle is None and kind == "litert" and not has_converter(options.cache):
            obstacle = "its converter is not on this machine; 'flawmap export' into litert installs it"
        made[kind, precision] = obstacle or _try(_make, bundle, (kind, precision), prepared, folder, options)
    progress("converting into other forms", len(forms), len(forms))
    return made


def _make(bundle: Bundle, form: Form, prepared: Prepared, folder: Path, options: RunOptions) -> Bundle:
    spec, files = to_form(bundle, *form, prepared, options.cache)
    return write_files(folder / "-".join(form), spec, files)


def _try(work: Callable[..., T], *arguments: Any) -> T | str:
    """What `work` gives, or what the user would have to change."""
    try:
        return work(*arguments)
    except FlawmapError as error:
        return str(error)


def _time(
    models: Mapping[Form, Loaded], check: CheckPhotos, options: RunOptions, progress: Progress
) -> dict[Form, Timing]:
    """Photos spread over the set, through all that a photo goes through after it is decoded."""
    n = min(len(check.photos), options.benchmark.n_photos)
    places = np.linspace(0, len(check.photos) - 1, n).round().astype(int)
    found = read_images([check.photos[place].path for place in places], options.photos)
    images = [image for image in found if isinstance(image, np.ndarray)]

    def to_work(model: Loaded) -> Callable[[np.ndarray], Any]:
        return lambda image: model.answer(model.prepare(image))

    works = {form: to_work(model) for form, model in models.items()}
    n_threads = options.embed.n_threads or n_usable_cores()
    return measure_speed(works, images, n_threads, options.benchmark, progress)


def _describe_machine(options: RunOptions, device: Device) -> dict[str, Any]:
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    return {
        "processor": _processor_name(),
        "n_cores": n_usable_cores(),
        "n_threads": options.embed.n_threads or n_usable_cores(),
        "device": device,
        "load_before": load_average,
        "n_rounds": options.benchmark.n_rounds,
        "n_photos_a_round": options.benchmark.n_photos,
        "versions": versions(),
    }


def _processor_name() -> str:
    """As Linux tells it; elsewhere the architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _to_json(row: BenchmarkRow) -> dict[str, Any]:
    return {**to_plain(row), "passes": row.passes if row.agreement else None}


def _to_lines(rows: Sequence[BenchmarkRow], machine: Mapping[str, Any], n_checked: int) -> tuple[str, ...]:
    """The table, the forms that were not run, and what limits the figures."""
    done = [row for row in rows if row.agreement is not None]
    figure = done[0].agreement.name if done and done[0].agreement else ""
    busy = machine["load_before"] or 0.0
    head = f"{'runtime':<13}{'precision':<10}{'MB':>6}{'ms':>8}{'photos/s':>10} {'(range)':<16}"
    return (
        f"{head}{figure:>8}{'changed':>9}",
        *(_to_line(row) for row in done),
        *(f"not run: {_NAMES[row.runtime]} {row.precision}: {row.reason}" for row in rows if row.reason),
        f"ms: one photo after another on one thread; photos/s: on {counted(machine['n_threads'], 'thread')}, "
        f"{machine['n_cores']} cores of {machine['processor']} ({machine['device']}); without decoding",
        f"medians and range of {counted(machine['n_rounds'], 'alternating round')}, in each "
        f"{counted(machine['n_photos_a_round'], 'look')} at photos, which come again where there are fewer; "
        f"{figure} and changes on {counted(n_checked, 'photo')}, against float32 in ONNX Runtime",
        *(
            [f"note: the machine was busy before this began (load {busy:.1f}); on an idle one it is faster"]
            if busy > _BUSY
            else []
        ),
    )


def _to_line(row: BenchmarkRow) -> str:
    agreement, timing = row.agreement, row.timing
    assert agreement is not None and timing is not None and row.size_mb is not None
    spread = "({:.1f}–{:.1f})".format(*timing.photos_per_s_range)
    after = math.nan if agreement.after is None else agreement.after
    verdict = "pass" if row.passes else f"fail: {'; '.join(agreement.failures)}"
    return (
        f"{_NAMES[row.runtime]:<13}{row.precision:<10}{row.size_mb:>6.1f}{timing.ms_per_photo:>8.1f}"
        f"{timing.photos_per_s:>10.1f} {spread:<16}{after:>8.4f}{agreement.changed:>9.2%}  {verdict}"
    )
