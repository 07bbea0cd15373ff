"""What a survey may be told, besides how its photos are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from flawmap.errors import OptionError
from flawmap.tools.execute import Engine, Execution
from flawmap.tools.options import Options


@dataclass(frozen=True)
class SurveyOptions(Options):
    """How the photos are gone through and what is written. Nothing here changes a finding."""

    n_threads: int | None = None
    """Photos looked at at once, on Ray: workers of one core each; None: as many as there are cores."""
    engine: Engine = "local"
    """Where the photos are looked at: here, or on the Ray cluster that RAY_ADDRESS names (else on Ray
    workers of this machine)."""
    heatmaps: bool = False
    """Whether `heat/` is written: the flaw score over each photo."""
    part_by: str | None = None
    """Regular expression on a photo's name; its first group (else the whole match) names the part."""
    max_close_ups: int = 3
    """Close-ups that are kept of each photo, of its findings with the highest scores."""

    match_neighbours: int = 3
    """Photos with findings are laid over so many that follow by name (and over those taken nearby), so that
    a flaw that several show counts once; 0: findings are not matched."""

    @property
    def execution(self) -> Execution:
        return Execution(self.engine, self.n_threads)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_threads is not None and self.n_threads < 1:
            raise OptionError(f"wanted n_threads of 1 or more; got {self.n_threads}")
        for name in ("max_close_ups", "match_neighbours"):
            if getattr(self, name) < 0:
                raise OptionError(f"wanted {name} of 0 or more; got {getattr(self, name)}")
