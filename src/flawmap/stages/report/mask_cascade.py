"""The report's section on a chain: a classifier looks first, and the mask network only where it saw a flaw.

Facts (`MaskReportFacts.cascade`): `skip_threshold`; `skipped_share` of the validation photos with a flaw that
the classifier lets pass, and `lost_share`, of whose flaw masks would mark some; `rule` ("area", "veto" or
"none"); `table`, rows of {name, figures}; `ms_good` and `ms_flawed`, each {chain, alone}; `compared`, rows of
{rule, most, flaw_dice, overkill_rate, balanced, is_chosen} on the validation part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flawmap.stages.report.wording import DASH, count, is_number, number, percent

_FIGURES = {
    "dice": "Dice",
    "flaw_dice": "Flaw Dice",
    "severstal_score": "Severstal score",
    "escape_rate": "Escape rate",
    "overkill_rate": "Overkill rate",
}
_NAMES = {"chain": "Chain", "mask network alone": "Mask network alone"}
_RULES = {
    "area": "a kind that the classifier doubts needs a larger patch to be kept",
    "veto": "the classifier has a veto: masks of kinds that it does not see are dropped",
    "none": "above the threshold the mask network decides alone",
}
_TRIED = {
    "flaw_dice": "Flaw Dice",
    "overkill_rate": "Overkill rate",
    "balanced": "Harmonic mean of flaw Dice and good photos left alone",
}
_TRIED_RULES = {"none": "nothing is done", "veto": "its mask is dropped"}


def cascade_section(cascade: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The chain beside the mask network alone; None where there is no chain."""
    if cascade is None:
        return None
    return {
        "threshold": number(cascade.get("skip_threshold")),
        "skipped": percent(cascade.get("skipped_share")),
        "lost": percent(cascade.get("lost_share")),
        "rule": _RULES.get(str(cascade.get("rule")), str(cascade.get("rule") or "")),
        "names": list(_FIGURES.values()),
        "rows": [_row(row) for row in cascade.get("table") or ()],
        "times": _times(cascade),
        "tried_names": list(_TRIED.values()),
        "tried": [_tried_row(row) for row in cascade.get("compared") or ()],
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _NAMES.get(row["name"], row["name"]),
        "is_chain": row["name"] == "chain",
        "cells": _cells(row.get("figures") or {}, _FIGURES),
    }


def _tried_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One rule on the validation part."""
    raised = f"its smallest area is up to {count(row.get('most'))} times as large"
    return {
        "name": _TRIED_RULES.get(str(row.get("rule")), raised),
        "is_chosen": bool(row.get("is_chosen")),
        "cells": _cells(row, _TRIED),
    }


def _cells(figures: Mapping[str, Any], shown: Iterable[str]) -> list[str]:
    return [(percent if key.endswith("rate") else number)(figures.get(key)) for key in shown]


def _times(cascade: Mapping[str, Any]) -> list[dict[str, str]]:
    """Milliseconds a photo; what the chain saves where there is nothing to find."""
    rows = []
    for key, name in (("ms_good", "good photo"), ("ms_flawed", "flawed photo")):
        both = cascade.get(key) or {}
        chain, alone = both.get("chain"), both.get("alone")
        if not is_number(chain) or not is_number(alone):
            continue
        ratio = f"{alone / chain:.1f} times as fast" if chain and alone >= chain else DASH
        if alone < chain:
            ratio = f"{100 * (chain / alone - 1):.0f} % slower" if alone else DASH
        rows.append({"name": name, "chain": f"{chain:.0f} ms", "alone": f"{alone:.0f} ms", "ratio": ratio})
    return rows
