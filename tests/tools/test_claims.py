"""A claim is supported only where the bound lies below it, and says how many photos it would take."""

from __future__ import annotations

import pytest

from flawmap.tools.bootstrap import upper_bound
from flawmap.tools.claims import make_claim, photos_needed, without_learnt


def test_three_hundred_flaws_without_a_miss_carry_one_percent_and_ninety_do_not() -> None:
    enough, few = make_claim("misses", 0.01, 0, 300), make_claim("misses", 0.01, 0, 90)
    assert enough.supported and enough.upper95 < 0.01
    assert not few.supported and few.n_needed == 299
    assert "misses under 1 %: supported (0 of 300 flawed photos" in enough.text
    assert "not supported" in few.text and "299" in few.text


def test_photos_of_one_source_count_for_less() -> None:
    claim = make_claim("misses", 0.01, 0, 300, effect=3.0)
    assert not claim.supported and claim.n_effective == 100
    assert claim.upper95 == pytest.approx(upper_bound(0, 100)) and claim.n_needed == 897


def test_photos_that_were_learnt_support_nothing() -> None:
    enough = make_claim("errors", 0.05, 0, 240)
    assert enough.supported and without_learnt(enough, 0) == enough
    learnt = without_learnt(enough, 200)
    assert not learnt.supported and learnt.n_needed is None and learnt.n_in_training == 200
    assert learnt.text == "errors under 5 %: not shown (200 of 240 photos were in training)"


def test_no_number_of_photos_carries_a_rate_that_is_not_there() -> None:
    assert make_claim("misses", 0.01, 5, 300).n_needed is None
    assert photos_needed(0.01, 0.01) is None


def test_without_photos_nothing_is_claimed() -> None:
    claim = make_claim("false alarms", 0.05, 0, 0)
    assert not claim.supported and claim.upper95 == 1.0 and claim.n_needed == 59
    assert "no good photo here" in claim.text


@pytest.mark.parametrize("observed", [0.0, 0.003, 0.008])
def test_the_needed_number_is_the_least(observed: float) -> None:
    n = photos_needed(observed, 0.01)
    assert n is not None
    assert upper_bound(observed * n, n) < 0.01 <= upper_bound(observed * (n - 1), n - 1)


def test_a_claim_is_plain_json() -> None:
    assert set(make_claim("errors", 0.05, 1, 10).to_json()) >= {
        "text",
        "supported",
        "upper95",
        "n",
        "n_needed",
    }
