"""Claims such as "misses under 1 %": printed with an upper bound, refused where there are too few photos."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any

from flawmap.tools.bootstrap import is_rate_below, upper_bound
from flawmap.tools.words import counted

_MOST_NEEDED = 1_000_000


@dataclass(frozen=True)
class Claim:
    """That the rate of `kind` ("misses", "false alarms", "errors") lies under `rate` (a share, 0..1)."""

    kind: str
    rate: float
    text: str
    supported: bool
    upper95: float
    """One-sided exact upper 95 % bound, at the effective number of photos."""
    n_events: int
    n: int
    n_effective: float
    """What n photos, some from one source, are worth as independent ones."""
    n_needed: int | None
    """Photos that would carry the claim at the rate seen here; None where no million would, or where the
    rate was seen on photos that the model had learnt."""
    n_in_training: int = 0
    """Of the n photos, those that trained or chose the model. Where there are any, nothing is supported."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def make_claim(kind: str, rate: float, n_events: int, n: int, effect: float = 1.0) -> Claim:
    """Judge one claim on `n_events` among `n` photos, whose dependence `effect` measures (see design_effect).

    Supported only where the upper 95 % bound lies below the claimed rate.
    """
    upper = upper_bound(n_events / effect, n / effect)
    supported = upper < rate
    needed = photos_needed(n_events / n if n else 0.0, rate)
    n_needed = None if needed is None else math.ceil(needed * effect)
    among = _among(kind)
    seen = f"{n_events:,} of {counted(n, among)}, upper 95 % bound {_percent(upper)}"
    if supported:
        text = f"{kind} under {_percent(rate)}: supported ({seen})"
    elif n == 0:
        text = f"{kind} under {_percent(rate)}: not supported (there is no {among} here)"
    elif n_needed is None:
        text = f"{kind} under {_percent(rate)}: not supported ({seen})"
    else:
        text = (
            f"{kind} under {_percent(rate)}: not supported ({seen}; about {n_needed} such photos are needed)"
        )
    return Claim(kind, rate, text, supported, upper, n_events, n, n / effect, n_needed)


def without_learnt(claim: Claim, n_in_training: int) -> Claim:
    """The claim as it stands where so many of its photos trained or chose the model: they show nothing."""
    if n_in_training == 0:
        return claim
    text = (
        f"{claim.kind} under {_percent(claim.rate)}: not shown ({n_in_training:,} of "
        f"{counted(claim.n, _among(claim.kind))} {'was' if n_in_training == 1 else 'were'} in training)"
    )
    return replace(claim, text=text, supported=False, n_needed=None, n_in_training=n_in_training)


def _among(kind: str) -> str:
    return "flawed photo" if kind.startswith("miss") else "good photo" if "alarm" in kind else "photo"


def photos_needed(observed: float, rate: float) -> int | None:
    """Independent photos at which the upper bound falls below `rate`, if the share `observed` stays so.

    None where that takes over a million, or for ever.
    """
    if observed >= rate:
        return None
    low, high = 0, 1
    while not is_rate_below(rate, observed * high, high):
        low, high = high, high * 2
        if high > _MOST_NEEDED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if not is_rate_below(rate, observed * middle, middle):
            low = middle
        else:
            high = middle
    return high


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
