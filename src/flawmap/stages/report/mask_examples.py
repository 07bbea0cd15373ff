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
    among the worst, one without a right pixel not among the best. At least half of the worst are flawed
    photos, where there are as many: false alarms all have a Dice of 0 and would push every missed flaw out.
    """
    candidates = {
        "worst": _worst(test, options.n_examples),
        "best": [row for row in test.best if test.rows[row].dice > 0],
        "typical": list(test.typical),
    }
    taken: set[int] = set()
    chosen = {}
    for kind, rows in candidates.items():
        chosen[kind] = [row for row in rows if row not in taken][: options.n_examples]
        taken |= set(chosen[kind])
    return chosen


def _worst(test: MaskEvaluation, n: int) -> list[int]:
    """The worst flawed photos, then the worst good ones: of these at most half of `n`, or what the flawed
    ones leave free. Order as in `test.worst`, which names too few photos to choose from."""

    def badness(row: int) -> tuple[float, float, int]:
        own = test.rows[row]
        n_wrong_px = (1 - own.dice) * (own.found_px + own.true_px)
        return own.dice, -n_wrong_px, row

    wrong = sorted((row for row in range(len(test.rows)) if test.rows[row].dice < 1), key=badness)
    flawed = [row for row in wrong if test.rows[row].true_px]
    good = [row for row in wrong if not test.rows[row].true_px]
    n_good = min(len(good), max(n // 2, n - len(flawed)))
    return flawed[: n - n_good] + good[:n_good]
