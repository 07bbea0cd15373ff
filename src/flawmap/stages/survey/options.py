"""What a survey may be told, besides how its photos are looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SurveyOptions:
    """How the photos are gone through and what is written. Nothing here changes a finding."""

    n_threads: int | None = None
    """Photos looked at at once; None: as many as the process may use cores."""
    heatmaps: bool = False
    """Whether `heat/` is written: the flaw score over each photo."""
    part_by: str | None = None
    """Regular expression on a photo's name; its first group (else the whole match) names the part."""
    max_close_ups: int = 3
    """Close-ups that are kept of each photo, of its findings with the highest scores."""

    def __post_init__(self) -> None:
        if self.n_threads is not None and self.n_threads < 1:
            raise ValueError(f"wanted n_threads of 1 or more; got {self.n_threads}")
        if self.max_close_ups < 0:
            raise ValueError(f"wanted max_close_ups of 0 or more; got {self.max_close_ups}")
