"""A region that holds a crack → the crack's own pixels, so that its course can be measured.

A classifier says where a crack is to some tens of pixels. Within such a region the crack is a dark ridge: the
largest second derivative across it (Sato et al. 1998, Medical Image Analysis 2(2)), at widths from about 2 to
15 px, above what the surface around the region gives by itself.
"""

from __future__ import annotations

import numpy as np

_SIGMA_PX = 1.5
"""Of the finest scale; each of the others looks at the photo at half the size of the one before."""
_N_SCALES = 3
_MOST_PX = 2_000_000
"""Larger crops are looked at from the next coarser scale on: their cracks are long, if not wide."""
_STRONG, _WEAK = 99.5, 97.0
"""Percentiles of the surface's own ridges: a crack passes the first somewhere, the second all along."""
_OWN_SHARE = 0.25
"""Of what a piece shows at its clearest (90th percentile), all of it shows: what is fainter beside a strong
crack is the surface's texture that touches it."""
_LEAST_PX = 15.0
_LEAST_SHARE = 0.15
"""Pieces shorter than either (in the length of the longest) are grains and specks."""
_LEAST_SURFACE_PX = 500


def trace_crack(grey: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(H, W) grey values and (H, W) bool region → (H, W) bool: dark lines in it; empty where there is none.

    The crop should hold some surface around the region, which tells how much a ridge must stand out.
    """
    from scipy import ndimage
    from skimage.filters import apply_hysteresis_threshold

    if grey.shape != region.shape or grey.ndim != 2:
        raise ValueError(f"wanted grey values and a region of one (H, W); got {grey.shape}, {region.shape}")
    ridges = _find_ridges(grey.astype(np.float32))
    surface = ridges[~region]
    if surface.size < _LEAST_SURFACE_PX:
        surface = ridges.ravel()
    weak, strong = np.percentile(surface, (_WEAK, _STRONG))
    marked = np.asarray(apply_hysteresis_threshold(ridges, weak, strong), bool) & region
    labels = _label(_without_texture(ridges, marked))
    if not labels.any():
        return marked
    places = ndimage.find_objects(labels)
    extents = np.array([np.hypot(*(side.stop - side.start for side in place)) for place in places])
    is_kept = np.concatenate([[False], extents >= max(_LEAST_PX, _LEAST_SHARE * extents.max())])
    return np.isin(labels, np.flatnonzero(is_kept))


def _without_texture(ridges: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is marked, without what is far fainter than the piece that it belongs to."""
    labels = _label(marked)
    inside = labels[marked]
    clearest = np.zeros(labels.max() + 1, np.float32)
    for i in range(1, len(clearest)):
        clearest[i] = np.percentile(ridges[marked][inside == i], 90)
    return marked & (ridges >= _OWN_SHARE * clearest[labels])


def _label(mask: np.ndarray) -> np.ndarray:
    """(H, W) number of each connected piece, corners included; 0 elsewhere."""
    from scipy import ndimage

    return np.asarray(ndimage.label(mask, np.ones((3, 3), bool))[0])  # type: ignore[index]


def _find_ridges(grey: np.ndarray) -> np.ndarray:
    """(H, W) float32: how much each place is a dark line, at the scale that shows it best."""
    from skimage.filters import sato
    from skimage.transform import downscale_local_mean, resize

    first = 0
    while grey.size / 4**first > _MOST_PX:
        first += 1
    strongest = np.zeros(grey.shape, np.float32)
    for level in range(first, first + _N_SCALES):
        small = downscale_local_mean(grey, (2**level, 2**level)) if level else grey
        if min(small.shape) < 8:
            break
        found = np.asarray(sato(small, sigmas=[_SIGMA_PX], mode="reflect"))  # type: ignore[arg-type]
        full = [side * 2**level for side in small.shape]
        large = np.asarray(resize(found, full, order=1)) if level else found
        strongest = np.maximum(strongest, large[: grey.shape[0], : grey.shape[1]])
    return strongest
