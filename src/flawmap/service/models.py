"""The models that a service answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.errors import BundleError, OptionError
from flawmap.pipeline.inspectors import InspectOptions, Looking, describe_model, open_look
from flawmap.pipeline.using import load
from flawmap.records import Answer, Progress, SurveyModel, no_progress
from flawmap.service.facts import NotedPhoto, note
from flawmap.stages.inspection import default_findings
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.runtime import RuntimeOptions

if TYPE_CHECKING:
    from flawmap.tools.runtime import Model


@dataclass(frozen=True)
class ServedModel:
    """A model, ready to answer from several threads."""

    model: Model
    described: SurveyModel
    photos: PhotoOptions
    looking: Looking | None
    """None where the model cannot inspect."""
    why_not: str = ""
    """Why the model cannot inspect."""

    @property
    def name(self) -> str:
        return self.described.name

    @property
    def record(self) -> dict[str, Any]:
        """What a job keeps of the model that looked."""
        said = self.described
        return {
            "name": said.name,
            "task": said.task,
            "labels": list(said.labels),
            "good_labels": list(said.good_labels),
            "digest": said.digest,
            "tile_hw": list(self.model.spec.tile_hw),
            "threshold": self.threshold,
            "backbone": said.backbone,
            "flawmap_version": said.flawmap_version,
            "test": said.test,
            "options": {} if self.looking is None else dict(self.looking.options),
        }

    @property
    def threshold(self) -> float:
        """The score from which on a place may be a finding."""
        spec = self.model.spec
        asked = None if self.looking is None else self.looking.options["inspection"]["least_score"]
        if asked is not None:
            return asked
        if spec.masks is not None:
            return min(spec.masks.cleaning.thresholds)
        return (spec.findings or default_findings(spec.tile_hw)).least_score

    def look(self, path: Path) -> NotedPhoto:
        """What the model sees on a photo, and what is kept of the photo besides."""
        assert self.looking is not None
        return note(self.looking.look(path), self.model)

    def predict(self, content: bytes) -> Answer:
        """What the model says of a photo's bytes. Raises PhotoError."""
        return self.model.answer(self.model.prepare(read_image(content, self.photos)))


def open_models(
    folders: Sequence[Path | str],
    photos: PhotoOptions,
    options: InspectOptions | None = None,
    progress: Progress = no_progress,
) -> dict[str, ServedModel]:
    """The models by name, in the order given. Raises BundleError, and OptionError for two of one name."""
    if not folders:
        raise OptionError("no model given; name at least one run folder")
    options = options or InspectOptions()
    one_thread = RuntimeOptions(n_threads=1)  # photos are computed side by side instead
    inspection = replace(options.inspection, photos=photos, runtime=one_thread)
    options = replace(options, inspection=inspection)
    found: dict[str, ServedModel] = {}
    for n_done, folder in enumerate(folders):
        progress("loading models", n_done, len(folders))
        model = load(folder, one_thread)
        described = describe_model(model.bundle)
        if described.name in found:
            raise OptionError(f"two models are called '{described.name}'; rename the folder of one of them")
        found[described.name] = ServedModel(model, described, photos, *_open_look(folder, options))
    return found


def _open_look(folder: Path | str, options: InspectOptions) -> tuple[Looking | None, str]:
    try:
        return open_look(folder, options, n_photos=2), ""
    except BundleError as error:  # a model that knows flaws only can still predict
        return None, str(error)
