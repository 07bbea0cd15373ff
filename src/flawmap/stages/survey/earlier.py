"""A survey folder as it is read back to be compared."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import FlawmapError, OptionError, PhotoError
from flawmap.stages.survey.journal import JOURNAL
from flawmap.stages.survey.outlines import CANVAS_PX
from flawmap.tools.photos import read_image
from flawmap.tools.regions import find_region

_WHOLE = 0.999
"""Of a photo's pixels: all that a region leaves out of it is less."""
_SAME_SHARE = 0.05
"""A region's share of the photo may be off by this from what was seen, which is told by windows."""


@dataclass(frozen=True)
class EarlierSurvey:
    """What findings.json says, and the pictures that the journal keeps."""

    folder: Path
    photos: dict[str, dict[str, Any]]
    """By name, as in findings.json."""
    is_coarse: bool
    """Whether the outlines are a classifier's, which may mark now more, now less of one crack."""
    model: dict[str, Any]
    """Which one looked."""
    options: dict[str, Any]
    """All that decided the findings: limits, scales."""

    def picture(self, name: str) -> np.ndarray | None:
        """(h, w, 3) uint8 RGB: the photo as the journal keeps it, else as it lies where it lay; None where
        there is neither."""
        kept = self._kept(name)
        try:
            return read_image(kept if kept is not None else Path(self.photos[name]["path"]))
        except (PhotoError, OSError):
            return None

    def looked_at(self, name: str) -> np.ndarray | None:
        """(CANVAS_PX, CANVAS_PX) bool: which part of the photo was looked at; None where it was a part that
        can no longer be told, since its region's file is gone or another now."""
        photo = self.photos[name]
        share_seen = photo.get("share_seen", 1.0)
        whole = np.ones((CANVAS_PX, CANVAS_PX), bool)
        if share_seen >= _WHOLE:
            return whole
        try:
            region = find_region(Path(self.options["inspection"]["region"]), Path(photo["path"]))
            if region is None:
                return None
            inside = region.shares(whole.shape, (photo["height_px"], photo["width_px"]))
        except (FlawmapError, LookupError, TypeError):
            return None
        return inside if abs(float(inside.mean()) - share_seen) <= _SAME_SHARE else None

    def _kept(self, name: str) -> bytes | None:
        if not (self.folder / JOURNAL).is_file():
            return None
        address = f"{(self.folder / JOURNAL).resolve().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as connection:
                row = connection.execute(
                    "SELECT jpeg FROM pictures WHERE name = ? AND kind = 'photo'", (name,)
                ).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else row[0]


def read_survey(folder: Path) -> EarlierSurvey:
    """Raises OptionError for a folder that holds no finished survey."""
    if folder.is_file():
        raise OptionError(f"{folder} is a file; the folder that 'flawmap inspect' wrote was wanted")
    try:
        with (folder / "findings.json").open(encoding="utf-8") as file:
            document = json.load(file)
        photos = {photo["name"]: photo for photo in document["photos"]}
        model, options = dict(document["model"]), dict(document["options"])
        is_coarse = model["task"] in ("classification", "multilabel")
    except FileNotFoundError as error:
        raise OptionError(
            f"{folder} holds no finished survey: there is no findings.json. Give the folder that "
            "'flawmap inspect' wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise OptionError(f"{folder / 'findings.json'} cannot be read as a survey ({error})") from error
    except (LookupError, TypeError, RecursionError) as error:
        raise OptionError(
            f"{folder / 'findings.json'} cannot be read as a survey: an object with photos, model and "
            "options was wanted, as 'flawmap inspect' writes it"
        ) from error
    return EarlierSurvey(folder, photos, is_coarse, model, options)
