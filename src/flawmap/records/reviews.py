"""What people said of a survey's findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReviewKind = Literal["rejected", "relabelled", "repainted", "marked"]


@dataclass(frozen=True)
class ReviewedFinding:
    """A finding that a person changed. Plain JSON values."""

    photo: str
    kind: ReviewKind
    """rejected: it is left out; relabelled: it has another label; repainted: its mask is another;
    marked: the model did not see it."""
    label: str
    """The model's; of a marked one the person's."""
    new_label: str = ""
    score: float | None = None
    """The model's; a marked one has none."""
    reviewer: str = ""
    at: str = ""
    """UTC, ISO 8601."""
    note: str = ""


@dataclass(frozen=True)
class SurveyReviews:
    """All that people said; the survey's findings are those that are left after it. Plain JSON values."""

    n_accepted: int = 0
    """Findings that a person confirmed as they are."""
    n_open: int = 0
    """Findings that nobody has reviewed."""
    n_checked: int = 0
    """Photos of which a person said that every flaw is marked."""
    changes: tuple[ReviewedFinding, ...] = ()

    def count(self, kind: ReviewKind) -> int:
        """How many findings were changed in this way."""
        return sum(change.kind == kind for change in self.changes)

    @property
    def has_any(self) -> bool:
        """Whether a person has said anything of a finding."""
        return bool(self.n_accepted or self.changes)
