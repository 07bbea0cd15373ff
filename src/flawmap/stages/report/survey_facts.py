"""What the report of a survey is made from."""

from __future__ import annotations

from dataclasses import dataclass

from flawmap.errors import OptionError
from flawmap.records import Finding, Survey, SurveyPart, SurveyRow
from flawmap.tools.options import Options


@dataclass(frozen=True)
class ShownFinding:
    """One finding with its pictures; None where there is none to show."""

    row: SurveyRow
    number: int
    """Of the finding on its photo, from 1."""
    overlay: bytes | None = None
    """An image file: the photo with a line around every finding, and numbers where there is room."""
    photo: bytes | None = None
    """An image file of the same size, without lines."""
    close_up: bytes | None = None
    """An image file, at the photo's own size, with a thin line around the finding."""
    n_numbered: int = 0
    """Findings whose numbers stand in the overlay."""

    @property
    def finding(self) -> Finding:
        return self.row.inspection.findings[self.number - 1]


@dataclass(frozen=True)
class SurveyFacts:
    """A survey, and the findings that its reports show with pictures, worst first."""

    survey: Survey
    parts: tuple[SurveyPart, ...] = ()
    shown: tuple[ShownFinding, ...] = ()
    folder: str = ""
    """The name of the folder that the photos lie in; "" where they share none."""
    days: tuple[str, ...] = ()
    """The first and the last on which photos were looked at, or the one that is both."""

    @property
    def title(self) -> str:
        if self.survey.meta.structure or not self.folder:
            return self.survey.meta.structure or "Inspection"
        return f"Inspection of {self.folder}"

    @property
    def date(self) -> str:
        """As a person gave it, else the days on which the photos were looked at."""
        return str(self.survey.meta.date) or " to ".join(self.days)


@dataclass(frozen=True)
class SurveyReportOptions(Options):
    """How much the reports of a survey show."""

    n_worst: int = 12
    """Findings with pictures."""
    n_listed: int = 200
    """Rows of each list; the rest is in the tables."""
    max_picture_bytes: int = 2_400_000
    """All pictures of report.html together, before base64 makes a third more of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_worst", "n_listed"):
            if getattr(self, name) < 0:
                raise OptionError(f"wanted {name} of 0 or more; got {getattr(self, name)}")
