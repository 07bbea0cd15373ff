"""Which labels mean that nothing is wrong, told from their words."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FLAW_WORDS = _words(
    "crack cracks cracked cracking defect defects defective defected flaw flaws flawed damage damages "
    "damaged fault faults faulty scratch scratches scratched corrosion corroded rust rusty spall spalls "
    "spalling hole holes anomaly anomalies anomalous broken error errors failure failures pit pits stain "
    "stains"
)
_GLUED = re.compile(rf"(no|non|un)({'|'.join(sorted(_FLAW_WORDS))})")
_NEGATIONS = _words("no non not un without zero")
_SPOILERS = _FLAW_WORDS | _words("bad def ng nok reject rejected fail failed abnormal partly")
_GOOD_ANYWHERE = _words("good ok okay negative negatives normal intact healthy flawless faultless")
_GOOD_ALONE = _GOOD_ANYWHERE | _words(
    "free none nothing clean background sound pass passed accepted perfect pristine empty neg"
)


def guess_good_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that mean "good", in the order given; none where the words do not say, or say it of all.

    Whole words count: "no_crack", "Non-crack", "uncracked", "crack-free", "ok_front" and "Negative" are good;
    "not_good", "no good" and "cracked background" are not. Of exactly "0" and "1", and of "no" and "yes", the
    first is good.
    """
    lowered = {label.strip().lower() for label in labels}
    by_convention = {"0"} if lowered == {"0", "1"} else {"no"} if lowered == {"no", "yes"} else set()
    good = tuple(label for label in labels if label.strip().lower() in by_convention or _is_good(label))
    return () if len(good) == len(labels) else good


def _is_good(label: str) -> bool:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower()
    words = [word for word in re.split(r"[\W\d_]+", parted) if word]
    if not words:
        return False
    negated = [i for i, word in enumerate(words) if word in _NEGATIONS]
    if negated:
        rest = words[negated[0] + 1 :]
        return bool(rest) and all(word in _FLAW_WORDS or word in ("or", "and", "any") for word in rest)
    if len(words) > 1 and words[-1] in ("free", "less"):
        return all(word in _FLAW_WORDS for word in words[:-1])
    if any(_GLUED.fullmatch(word) for word in words):
        return True
    if len(words) == 1:
        return words[0] in _GOOD_ALONE
    return any(word in _GOOD_ANYWHERE for word in words) and not any(word in _SPOILERS for word in words)
