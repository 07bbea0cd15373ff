"""Which photos are shown with their masks: the report and whoever finds the masks agree here."""

from __future__ import annotations

from flawmap.records import MaskEvaluation
from flawmap.stages.report.facts import ReportOptions

KINDS = ("worst", "typical", "best")


def wanted_pictures(test: MaskEvaluation, options: ReportOptions) -> tuple[str, ...]:
    """Names of the photos that the report would show, each once: best, typical, worst."""
    chosen = chosen_rows(test, options)
    return tuple(test.rows[row].name for kind in reversed(KINDS) for row in chosen[kind])


def chosen_rows(test: MaskEvaluation, options: ReportOptions) -> dict[str, list[int]]:
    """Kind → rows of the evaluation, at most `options.n_examples` each; no photo twice. A perfect mask is not
    among the worst, one without a right pixel not among the best."""
    candidates = {
        "worst": [row for row in test.worst if test.rows[row].dice < 1],
        "best": [row for row in test.best if test.rows[row].dice > 0],
        "typical": list(test.typical),
    }
    taken: set[int] = set()
    chosen = {}
    for kind, rows in candidates.items():
        chosen[kind] = [row for row in rows if row not in taken][: options.n_examples]
        taken |= set(chosen[kind])
    return chosen
