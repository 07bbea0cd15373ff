"""One photo after another through a model folder: findings, whether it could be judged, pictures of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flawmap.errors import BundleError, OptionError, PhotoError, option
from flawmap.records import Finding, FindingSpec, InspectedPhoto, Inspection, Progress, no_progress
from flawmap.stages.inspection.assessing import cut_parts, why_not_assessable, why_not_clean
from flawmap.stages.inspection.choosing import default_findings
from flawmap.stages.inspection.looking import ClassifierLook, Look, Looker, MaskLook
from flawmap.stages.inspection.one_window import draw_window
from flawmap.tools.bundle import Bundle, read_bundle
from flawmap.tools.classifier_maps import DenseClassifier, looks_as_chosen
from flawmap.tools.close_ups import cut_close_up
from flawmap.tools.options import Options
from flawmap.tools.photo_rows import PhotoRows, open_rows
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.regions import Region, check_region, find_region
from flawmap.tools.runtime import RuntimeOptions

MOST_CLOSE_UPS = 12
MOST_HEAT_CELLS = 1024
OUTSIDE = "the region of interest covers nothing of this photo"


@dataclass(frozen=True)
class InspectOptions(Options):
    """How photos are inspected."""

    least_score: float | None = None
    """Of a finding; None: as the model was given at training."""
    least_area_px: int | None = None
    """Of a finding, in pixels of the photo; None: as the model was given at training."""
    region: Path | None = None
    """Where to look: a polygon (.json) or mask (.png) for all photos, or a folder with one per camera, named
    like the folder of its photos."""
    photos: PhotoOptions = field(default_factory=PhotoOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    """`n_threads` are those within one photo; 1 where many photos are inspected side by side."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_score is not None and not 0 < self.least_score < 1:
            raise OptionError(f"least_score is {self.least_score:g}; above 0 and below 1 was wanted, or none")
        if self.least_area_px is not None and self.least_area_px < 0:
            raise OptionError(f"least_area_px is {self.least_area_px}; 0 or more was wanted, or none")


DEFAULT_OPTIONS = InspectOptions()


@dataclass(frozen=True)
class Inspector:
    """A model, ready for any number of photos. Safe to use from several threads."""

    bundle: Bundle
    options: InspectOptions
    findings: FindingSpec
    looker: Looker


def open_inspector(model: Path | str, options: InspectOptions = DEFAULT_OPTIONS) -> Inspector:
    """The model in RUN or RUN/model. Raises BundleError where it has no label for what is good, and
    MissingExtraError."""
    bundle = read_bundle(model)
    spec = bundle.spec
    if spec.masks is None and not spec.is_multilabel and not spec.good_labels:
        raise BundleError(
            f"{model} knows flaws only ({', '.join(spec.labels)}) and would see one everywhere: inspection "
            "needs a model trained with a label for what is good, or with masks. If one of these is good, "
            f"train again with {option('--good')}"
        )
    if options.region is not None:
        check_region(options.region)
    findings = spec.findings or default_findings(spec.tile_hw)
    given = {"least_score": options.least_score, "least_area_px": options.least_area_px}
    findings = replace(findings, **{key: value for key, value in given.items() if value is not None})
    if spec.masks is None:
        looker: Looker = ClassifierLook(_open_classifier(bundle, options), findings)
    else:
        # What a mask needs was chosen pixel by pixel at training; only what is asked for is added.
        least = (options.least_score or 0.0, options.least_area_px or 0)
        looker = MaskLook(bundle, options.runtime, least)
    return Inspector(bundle, options, findings, looker)


def _open_classifier(bundle: Bundle, options: InspectOptions) -> DenseClassifier:
    classifier = DenseClassifier(bundle, options.runtime)
    if options.least_score is None and not looks_as_chosen(bundle.spec, classifier.is_dense):
        raise BundleError(
            f"{bundle.folder} holds {bundle.spec.form.kind} files, which can only be shown crops of a photo; "
            "what counts as a finding was chosen by looking at every place, and does not hold for crops. "
            "Inspect with the folder that training wrote or with an export to onnx or openvino, or choose it "
            "for crops yourself: least_score under [inspection] (Python: options.inspection.least_score)"
        )
    return classifier


def inspect_photo(inspector: Inspector, path: Path | str, progress: Progress = no_progress) -> InspectedPhoto:
    """What one photo shows. A photo that cannot be read is an Inspection with an error, never an exception.

    The same photo gives the same bits, whatever the number of threads. `progress` is told of pictures that
    are read in strips.
    """
    path = Path(path)
    try:
        rows = open_rows(path, inspector.options.photos, progress)
        given = inspector.options.region
        region = None if given is None else find_region(given, path)
        look = inspector.looker.look(rows, region)
        return _to_inspected(inspector, str(path), rows, look, region)
    except PhotoError as error:
        return InspectedPhoto(Inspection(str(path), error=str(error)))
    except MemoryError:
        return InspectedPhoto(Inspection(str(path), error="too large for the memory of this machine"))


def _to_inspected(
    inspector: Inspector, path: str, rows: PhotoRows, look: Look, region: Region | None
) -> InspectedPhoto:
    height, width = rows.size_hw
    preview = rows.preview()
    image = getattr(rows, "image", preview)
    reason = _why_not(inspector, image, rows.size_hw, look, region)
    findings = () if reason else tuple(_place(one, rows) for one in look.findings)
    inspection = Inspection(
        path,
        width,
        height,
        not reason,
        reason,
        share_seen=look.share_seen,
        share_foreign=look.share_foreign,
        findings=findings,
        position_system="" if rows.ground is None or rows.ground.is_converted else rows.ground.name,
    )
    close_ups = (
        tuple(cut_close_up(rows.read(0, height), one) for one in findings[:MOST_CLOSE_UPS])
        if image is not preview
        else ()
    )
    step = max(1, -(-max(look.heat.shape) // MOST_HEAT_CELLS))
    whole = None if image is preview else image
    window = draw_window(whole, look.heat, rows.size_hw, inspector.bundle.spec)
    heat = look.heat[::step, ::step]
    if region is not None:
        heat = np.where(region.shares(heat.shape, rows.size_hw), heat, np.float32(0))
    return InspectedPhoto(inspection, preview, close_ups, heat, window)


def _why_not(
    inspector: Inspector, image: np.ndarray, size_hw: tuple[int, int], look: Look, region: Region | None
) -> str:
    """Why the photo is not judged, or "". `image` is the photo, or what it was reduced to."""
    if not look.share_seen:
        return OUTSIDE
    least, tile_hw, is_whole = inspector.findings, inspector.bundle.spec.tile_hw, image.shape[:2] == size_hw
    if not is_whole:  # which says nothing about sharpness, and may have a broad black margin
        if look.findings:
            return ""
        least = replace(least, least_sharpness=None)
        scale = image.shape[0] / size_hw[0]
        tile_hw = (max(1, round(tile_hw[0] * scale)), max(1, round(tile_hw[1] * scale)))
    inside = None if region is None else region.shares(image.shape[:2], size_hw)
    reason = why_not_assessable(cut_parts(image, tile_hw, inside), least)
    if reason or look.findings:
        return reason
    return why_not_clean(look.share_foreign, look.remoteness, least)


def _place(finding: Finding, rows: PhotoRows) -> Finding:
    """With the position on the ground, where the photo's pixels have one."""
    left, top, right, bottom = finding.box_xyxy
    place = rows.ground and rows.ground.to_lon_lat((left + right) / 2, (top + bottom) / 2)
    if place is None:
        return finding
    return replace(finding, lon=place[0], lat=place[1], position_source="pixel")
