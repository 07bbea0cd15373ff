"""How an inspection looks at one photo: the model finds, then what looks like a crack is measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError
from flawmap.pipeline.sizing import measure_findings
from flawmap.records import InspectedPhoto, ModelSpec, Progress, SurveyModel, no_progress
from flawmap.stages.inspection import InspectOptions as LookOptions
from flawmap.stages.inspection import inspect_photo, open_inspector
from flawmap.stages.measure import MeasureOptions
from flawmap.stages.report import SurveyReportOptions
from flawmap.stages.survey import Look, SurveyOptions
from flawmap.tools.bundle import Bundle, digest_of
from flawmap.tools.grading import GradingOptions
from flawmap.tools.options import Options, to_mapping
from flawmap.tools.plain import to_plain
from flawmap.tools.scale import ScaleOptions


@dataclass(frozen=True)
class InspectOptions(Options):
    """What an inspection may be told. Keys of a TOML file: a table for each of these."""

    inspection: LookOptions = field(default_factory=LookOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    grading: GradingOptions | str | None = None
    """A table of grades by width, or its name; None: nothing is graded."""
    survey: SurveyOptions = field(default_factory=SurveyOptions)
    report: SurveyReportOptions = field(default_factory=SurveyReportOptions)


@dataclass(frozen=True)
class Looking:
    """A way to look at photos, and all that decides what it finds."""

    look: Look
    model: SurveyModel
    options: Mapping[str, Any]
    """Plain JSON values."""


def open_look(
    model: Path | str, options: InspectOptions, n_photos: int, progress: Progress = no_progress
) -> Looking:
    """`progress` is told of pictures that are read in strips.

    Raises BundleError for a folder that holds no model, or one that cannot inspect.
    """
    inspection = options.inspection
    if inspection.runtime.n_threads is None and n_photos > 1:  # photos run side by side instead
        inspection = replace(inspection, runtime=replace(inspection.runtime, n_threads=1))
    look = ModelLook(Path(model), replace(options, inspection=inspection), progress)
    return Looking(look, describe_model(look.inspector.bundle), _decisive(options))


class ModelLook:
    """A look through a model. Pickled, it carries the model's files, so that a worker needs none of ours,
    and no progress."""

    def __init__(self, model: Path, options: InspectOptions, progress: Progress = no_progress) -> None:
        self._options, self._progress = options, progress
        self.inspector = open_inspector(model, options.inspection)

    def __call__(self, path: Path) -> InspectedPhoto:
        seen, options = inspect_photo(self.inspector, path, self._progress), self._options
        is_coarse = self.inspector.bundle.spec.masks is None
        given = (options.measure, options.scale, options.inspection.photos)
        return measure_findings(seen, path, *given, is_coarse=is_coarse)

    def __getstate__(self) -> dict[str, Any]:
        folder = self.inspector.bundle.folder
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return {"options": self._options, "files": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in state["files"].items():
                (Path(folder) / name).write_bytes(content)
            self.__init__(Path(folder), state["options"])


def _decisive(options: InspectOptions) -> dict[str, Any]:
    """The options that decide findings, without those that only say how fast or where."""
    asked = {name: to_mapping(getattr(options, name)) for name in ("inspection", "measure", "scale")}
    for table, names in (("runtime", ("n_threads", "cache")), ("photos", ("n_threads", "memo"))):
        for name in names:
            del asked["inspection"][table][name]
    if (region := options.inspection.region) is not None:
        asked["inspection"]["region_digest"] = _digest_region(region)
    return asked


def _digest_region(region: Path) -> str:
    """Of a region's file, or of all files of its folder."""
    files = sorted(path for path in region.rglob("*") if path.is_file()) if region.is_dir() else [region]
    try:
        parts = [f"{path.name} {digest_of(path.read_bytes())}" for path in files]
    except OSError as error:
        raise OptionError(f"cannot read the region of interest {region}: {error.strerror}") from error
    return digest_of("\n".join(parts).encode())


def describe_model(bundle: Bundle) -> SurveyModel:
    """What a survey says of the model that looked."""
    from flawmap import __version__

    spec, run = bundle.spec, bundle.folder.resolve()
    return SurveyModel(
        name=run.parent.name if run.name == "model" else run.name,
        task=spec.task,
        labels=spec.labels,
        good_labels=spec.good_labels,
        backbone=spec.backbone_id,
        digest=_digest_model(spec),
        flawmap_version=__version__,
        test=_own_test(spec.metrics.get("test") or {}),
    )


def _digest_model(spec: ModelSpec) -> str:
    """Of all in a model folder that decides its answers."""
    names = (
        "labels",
        "good_labels",
        "preprocessing",
        "thresholds",
        "tile_hw",
        "masks",
        "cascade",
        "findings",
        "form",
    )
    decisive = {name: to_plain(getattr(spec, name)) for name in ("file_digests", *names)}
    return digest_of(json.dumps(decisive, sort_keys=True).encode())


def _own_test(test: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a model's test that a survey repeats."""
    keys = ("n", "recall", "precision", "f1", "auroc", "dice", "interval95", "intervals_reliable")
    kept = {key: test[key] for key in keys if key in test}
    if "interval95" in kept:
        kept["interval95"] = {key: span for key, span in kept["interval95"].items() if key in keys}
    return kept
