"""Networks are cut where their maps are thin, and the margins are what values depend on."""

from __future__ import annotations

import pytest

from flawmap.tools.segments.geometry import IMAGE, Layer, NotLocalError, Window, plan_stretches, to_window

POINT, THREE, HALVE = Window(0, 1, 0), Window(2, 1, 1), Window(2, 2, 0)


def chain(*steps: tuple[Window | None, int]) -> list[Layer]:
    """Each step reads the one before; names are numbers."""
    names = [IMAGE, *map(str, range(len(steps)))]
    return [
        Layer("a layer", (names[i],), names[i + 1], window, n_channels)
        for i, (window, n_channels) in enumerate(steps)
    ]


def block(n_channels: int) -> list[tuple[Window | None, int]]:
    """Widened, slid over and made thin again; the step in between is made of several, as some files do."""
    wide = 6 * n_channels
    steps = [
        (POINT, wide),
        (None, wide),
        (None, wide),
        (None, wide),
        (THREE, wide),
        (None, wide),
        (None, wide),
    ]
    return [*steps, (POINT, n_channels)]


def test_cuts_lie_where_maps_are_thin_however_many_steps_are_wide() -> None:
    steps = [(HALVE, 8), *block(8) * 3, (HALVE, 16), *block(16) * 14]
    stretches = plan_stretches(chain(*steps))
    assert len(stretches) > 3
    assert {one.n_channels[1] for one in stretches} <= {8, 16}
    assert stretches[-1].end == str(len(steps) - 1)


def test_margins_are_what_the_layers_reach() -> None:
    (one,) = plan_stretches(chain((HALVE, 8), (THREE, 8)))
    # The second layer sees a cell to either side, two pixels each; the first one two pixels after its own.
    assert (one.first_stride, one.stride, one.before, one.after) == (1, 2, 2, 4)


def test_a_map_is_not_cut_while_another_is_still_needed() -> None:
    layers = [*chain((HALVE, 8), *block(8) * 20), Layer("Add", ("0", str(20 * 8)), "sum")]
    assert [one.end for one in plan_stretches(layers)][-2:] == ["0", "sum"]


def test_what_is_not_known_is_not_local() -> None:
    layers = [*chain((HALVE, 8)), Layer("Add", (IMAGE, "0"), "sum")]
    with pytest.raises(NotLocalError, match="strides"):
        plan_stretches(layers)
    assert to_window("Conv", (3, 3), (2, 2), (2, 2), (1, 1)) == Window(4, 2, 1)
    with pytest.raises(NotLocalError, match="one side"):
        to_window("Conv", (1, 7), (1, 1), (1, 1), (0, 3))
