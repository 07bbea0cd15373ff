"""How an inspection looks at one photo: the model finds, then what looks like a crack is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flawmap.pipeline.sizing import ScaleOptions, measure_findings
from flawmap.records import InspectedPhoto, SurveyModel
from flawmap.stages.inspection import InspectionOptions, inspect_photo, open_inspector
from flawmap.stages.measure import MeasureOptions
from flawmap.stages.report import SurveyReportOptions
from flawmap.stages.survey import Look, SurveyOptions
from flawmap.tools.bundle import Bundle, read_bundle
from flawmap.tools.options import to_mapping


@dataclass(frozen=True)
class InspectOptions:
    """What an inspection may be told. Keys of a TOML file: a table for each of these."""

    inspection: InspectionOptions = field(default_factory=InspectionOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    survey: SurveyOptions = field(default_factory=SurveyOptions)
    report: SurveyReportOptions = field(default_factory=SurveyReportOptions)


@dataclass(frozen=True)
class Looking:
    """A way to look at photos, and all that decides what it finds."""

    look: Look
    model: SurveyModel
    options: Mapping[str, Any]
    """Plain JSON values."""
    grades: tuple[str, ...] = ()
    """What a severity may be, mildest first."""
    grading_note: str = ""


def open_look(model: Path | str, options: InspectOptions) -> Looking:
    """Raises BundleError for a folder that holds no model, OptionError for one that finds nothing."""
    bundle = read_bundle(model)
    inspector = open_inspector(bundle.folder, options.inspection)
    is_coarse = bundle.spec.masks is None

    def look(path: Path) -> InspectedPhoto:
        seen = inspect_photo(inspector, path)
        return measure_findings(seen, path, options.measure, options.scale, is_coarse=is_coarse)

    asked = {name: to_mapping(getattr(options, name)) for name in ("inspection", "measure", "scale")}
    return Looking(look, describe_model(bundle), asked)


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
        digest=" ".join(digest for _, digest in sorted(spec.file_digests.items())),
        flawmap_version=__version__,
        test=_own_test(spec.metrics.get("test") or {}),
    )


def _own_test(test: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a model's test that a survey repeats."""
    keys = ("n", "recall", "precision", "f1", "auroc", "dice", "interval95", "intervals_reliable")
    kept = {key: test[key] for key in keys if key in test}
    if "interval95" in kept:
        kept["interval95"] = {key: span for key, span in kept["interval95"].items() if key in keys}
    return kept
