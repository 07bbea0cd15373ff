"""Which labels mean that nothing is wrong."""

from __future__ import annotations

import pytest

from flawmap.stages.dataset import guess_good_labels

GOOD = (
    "Negative good GOOD ok OK free no_crack non-crack non_crack NonCrack noncrack uncracked undamaged normal "
    "intact clean background none Normal_surface good-tiles 0_negative no_defects defect-free crack_free "
    "ok_front without_cracks not_cracked negatives nodefect flawless 01.good"
)
NOT_GOOD = (
    "not_good NoGood not_ok NOK bad ng positive crack cracked non_negative abnormal no_ok not-normal "
    "good_crack cracked_background clean_break free_edge def_front scratches uneven break fray defect_ok "
    "goods okapi freeze nonsense unknown notok"
)


@pytest.mark.parametrize("label", [*GOOD.split(), "no crack", "Crack free", "without defects or damage"])
def test_names_that_mean_good(label: str) -> None:
    assert guess_good_labels(["zzz", label]) == (label,)


@pytest.mark.parametrize("label", [*NOT_GOOD.split(), "no good", "not good", "", "123"])
def test_names_that_do_not_mean_good(label: str) -> None:
    assert guess_good_labels(["zzz", label]) == ()


def test_conventions_for_pairs() -> None:
    assert guess_good_labels(["0", "1"]) == ("0",)
    assert guess_good_labels(["no", "yes"]) == ("no",)
    assert guess_good_labels(["0", "1", "2"]) == ()
    assert guess_good_labels(["good", "ok"]) == ()  # all good: the words cannot be meant so
