"""Square markers (ArUco, AprilTag): the scale of a photo that shows one, tilt included; and one to print.

The marker's four corners give the homography from the photo to the surface that the marker lies flat on
(Hartley and Zisserman 2004, 2.3). Away from the marker it is extrapolated; how far that can be trusted, the
corners' own uncertainty tells at every place.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from flawmap.errors import OptionError, PhotoError, option, require_extra
from flawmap.tools.files import write_file
from flawmap.tools.surface import Scale

PRINTED = "DICT_4X4_50"
"""The family of the marker that `write_marker` draws: few modules, so that it is found from far away."""
_FAMILIES = (
    PRINTED,
    "DICT_5X5_50",
    "DICT_6X6_250",
    "DICT_APRILTAG_36h11",
    "DICT_APRILTAG_25h9",
    "DICT_ARUCO_ORIGINAL",
)
_CORNER_SD_PX = 0.3
"""How well a corner is found after refining. On markers rendered into photos (blur, noise, JPEG; 50 to 250 px
wide, tilted up to 40°) sides came out up to 0.4 px short, by which blur eats into the black."""
_PAGE_MM, _LARGEST_MM, _SMALLEST_MM = 210, 160, 5
_MODULE_PX = 40
_TYPST = """
#let told = json(bytes(sys.inputs.told))
#set page(paper: "a4", margin: 20mm)
#set text(size: 11pt)
#set par(justify: false)
#align(center)[
  #v(told.quiet * 1mm)
  #image(bytes(told.png), width: told.size * 1mm, scaling: "pixelated")
  #v(told.quiet * 1mm)
]
#line(length: 100mm, stroke: 0.3mm)
This line is 100 mm long and the black square #told.size mm wide. Print at 100 %, not fitted to the page, and
measure both: the scale of every photo depends on it.

Fix it flat on the surface, beside the crack, with the white around it. Number #told.number, #told.family.
Tell flawmap its size: #raw("--marker-mm " + told.shown).
"""


def find_marker_scale(image: np.ndarray, marker_mm: float) -> Scale:
    """The scale of an (H, W, 3) uint8 RGB photo, by the largest marker in it, its black `marker_mm` wide.

    Raises OptionError for a size that cannot be, PhotoError where no marker is found.
    """
    if not 0 < marker_mm < float("inf"):
        raise OptionError(f"{option('--marker-mm')} is {marker_mm}; the marker's size in mm was wanted")
    require_extra("cv2", "inspect")
    import cv2

    corners = _find_corners(image)
    if corners is None:
        raise PhotoError(
            "no marker found. It has to be seen whole, with white around it, flat, sharp, and at least some "
            "30 pixels wide; 'flawmap marker' prints one"
        )
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * np.float32(marker_mm)

    def solve(points: np.ndarray) -> np.ndarray:
        return cv2.getPerspectiveTransform(points.astype(np.float32), square)

    errors = _CORNER_SD_PX * np.eye(8).reshape(8, 4, 2)
    return Scale(solve(corners), tuple(solve(corners + error) for error in errors))


def _find_corners(image: np.ndarray) -> np.ndarray | None:
    """(4, 2) pixels of the largest marker's black corners, from the top left on; None without one."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    found = []
    for family in _FAMILIES:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, family))
        corners, _, _ = cv2.aruco.ArucoDetector(dictionary, parameters).detectMarkers(grey)
        found += [np.asarray(one, np.float64).reshape(4, 2) for one in corners]
    return max(found, key=lambda one: cv2.contourArea(one.astype(np.float32)), default=None)


def write_marker(out: Path, size_mm: float, number: int = 0) -> None:
    """A PDF page (A4) with marker `number` (0 to 49), its black square `size_mm` wide. Raises OptionError."""
    if not _SMALLEST_MM <= size_mm <= _LARGEST_MM:
        raise OptionError(
            f"{option('--size-mm')} is {size_mm:g}; {_SMALLEST_MM} to {_LARGEST_MM} mm fit on a page of "
            f"{_PAGE_MM} mm"
        )
    if not 0 <= number < 50:
        raise OptionError(f"{option('--number')} is {number}; 0 to 49 was wanted")
    if out.suffix.lower() != ".pdf":
        raise OptionError(f"{option('--out')} is {out}; a name ending in .pdf was wanted")
    require_extra("cv2", "inspect")
    require_extra("typst", "inspect")
    import cv2
    import typst

    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, PRINTED))
    modules = cv2.aruco.generateImageMarker(dictionary, number, dictionary.markerSize + 2)
    pixels = np.kron(modules, np.ones((_MODULE_PX, _MODULE_PX), np.uint8))
    png = cv2.imencode(".png", pixels)[1].ravel().tolist()
    told = {
        "png": png,
        "size": size_mm,
        "shown": f"{size_mm:g}",
        "quiet": max(10.0, size_mm / len(modules)),
        "number": number,
        "family": PRINTED,
    }
    page = typst.compile(_TYPST.encode(), format="pdf", sys_inputs={"told": json.dumps(told)})
    write_file(out, page)
