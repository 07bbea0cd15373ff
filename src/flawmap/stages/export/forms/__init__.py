"""A model folder in another form or precision: OpenVINO, LiteRT, ONNX; float32 down to int8.

Nothing here judges the result: the pipeline runs both files over real photos and writes only what agrees.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flawmap.errors import MissingExtraError, OptionError
from flawmap.records import FileKind, ModelForm, ModelSpec, Precision
from flawmap.stages.export.forms.litert import has_converter, to_litert
from flawmap.stages.export.forms.onnx_files import to_onnx_form
from flawmap.stages.export.forms.openvino_files import to_openvino_form
from flawmap.tools.bundle import (
    FILES_OF_TASK,
    HELD_BACK,
    MASKS,
    REFERENCE,
    WEIGHTS,
    Bundle,
    files_of,
    in_form,
)
from flawmap.tools.options import Options
from flawmap.tools.preprocess import fit_image
from flawmap.tools.segmenting import first_piece

__all__ = [
    "FORMS",
    "FormOptions",
    "Prepared",
    "choose_rows",
    "find_obstacle",
    "has_converter",
    "prepare_calibration",
    "require_form",
    "to_form",
]

FORMS: tuple[tuple[FileKind, Precision], ...] = (
    ("onnx", "float32"),
    ("onnx", "float16"),
    ("onnx", "int8"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "float16"),
    ("openvino", "int8"),
    ("litert", "float32"),
)
"""What can be written, where what it needs is installed."""
MIN_UNSEEN = 100
"""Fewer photos that training never saw are not enough to judge by: 1 % of them is less than one photo."""


@dataclass(frozen=True)
class FormOptions(Options):
    """How a model folder is turned into another form, and on how many photos it is checked."""

    calibrate: Path | None = None
    """Photos like those to come; None: the data set that the model's run was given."""
    n_calibration: int = 128
    """Photos whose values int8 is fitted to; none of them is checked on."""
    n_check: int = 1000
    """Labelled photos on which a reduced precision is compared with float32, at most."""
    n_check_float32: int = 64
    """Photos on which another form in float32 is compared, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_calibration", "n_check", "n_check_float32"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give 1 or more")


@dataclass(frozen=True)
class _Need:
    module: str
    extra: str


_NEEDS: Mapping[tuple[FileKind, Precision], tuple[_Need, ...]] = {
    ("onnx", "float16"): (_Need("onnx", "export"),),
    ("onnx", "int8"): (_Need("onnx", "export"),),
    ("openvino", "float32"): (_Need("openvino", "openvino"),),
    ("openvino", "float16"): (_Need("openvino", "openvino"),),
    ("openvino", "bfloat16"): (_Need("openvino", "openvino"),),
    ("openvino", "int8"): (_Need("openvino", "openvino"), _Need("nncf", "export")),
    ("litert", "float32"): (_Need("ai_edge_litert", "litert"),),
}


def find_obstacle(kind: FileKind, precision: Precision, spec: ModelSpec) -> str | None:
    """Why a form cannot be made of a model on this machine, with the remedy; None where it can."""
    if (kind, precision) not in FORMS:
        can = ", ".join(sorted(p for k, p in FORMS if k == kind))
        return f"{kind} files are written in {can}, not in {precision}"
    if kind == "litert" and spec.masks is not None:
        return "LiteRT files take one size of photo, and masks are made at any size; choose onnx or openvino"
    for need in _NEEDS.get((kind, precision), ()):
        if importlib.util.find_spec(need.module) is None:
            return (
                f"this needs '{need.module}', which is not installed. Install it with: "
                f"pip install 'flawmap[{need.extra}]'"
            )
    if precision == "bfloat16" and not _has_bfloat16():
        return f"this processor ({platform.machine()}) does not compute in bfloat16; choose another precision"
    return None


def require_form(kind: FileKind, precision: Precision, spec: ModelSpec) -> None:
    """Raise OptionError or MissingExtraError where find_obstacle() finds one."""
    obstacle = find_obstacle(kind, precision, spec)
    if obstacle is not None:
        raise (MissingExtraError if "pip install" in obstacle else OptionError)(obstacle)


def _has_bfloat16() -> bool:
    from flawmap.tools.openvino_import import import_openvino

    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def choose_rows(
    digests: Sequence[str], seen: Sequence[str], options: FormOptions, n_calibration: int
) -> tuple[list[int], list[int]]:
    """Rows of photos to calibrate on and rows to check on, spread evenly; none is in both.

    Checked are photos that training did not see (`seen` holds the digests that it saw), where there are
    MIN_UNSEEN of them, otherwise any. Calibration takes the others, or every third where these are too few.
    """
    known = set(seen)
    unseen = [row for row, digest in enumerate(digests) if digest not in known]
    check = unseen if len(unseen) >= MIN_UNSEEN else list(range(len(digests)))
    if n_calibration == 0:
        return [], _spread(check, options.n_check)
    rest = sorted(set(range(len(digests))) - set(check))
    if len(rest) < n_calibration:
        given_up = check[::3]
        rest, check = sorted({*rest, *given_up}), sorted(set(check) - set(given_up))
    return _spread(rest, n_calibration), _spread(check, options.n_check)


def _spread(rows: Sequence[int], n: int) -> list[int]:
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), n)).round().astype(int)) if rows else []
    return [rows[place] for place in places]


Prepared = dict[str, list[np.ndarray]]
"""Per file of a network (model.onnx, masks.onnx) its input for each photo, (h, w, 3) uint8."""


def prepare_calibration(spec: ModelSpec, images: Iterator[np.ndarray]) -> Prepared:
    """What the networks of a model folder are calibrated with. One photo is held whole at a time."""
    networks = [name for name in FILES_OF_TASK[spec.task] if name != WEIGHTS]
    prepared: Prepared = {name: [] for name in networks}
    for image in images:
        for name in networks:
            if name == MASKS and spec.masks is not None:
                prepared[name].append(first_piece(image, spec.masks))
            else:
                prepared[name].append(fit_image(image, spec.preprocessing))
    return prepared


def to_form(
    bundle: Bundle, kind: FileKind, precision: Precision, calibration: Prepared, cache: Path
) -> tuple[ModelSpec, dict[str, bytes]]:
    """The spec and the files of a model folder in another form.

    `calibration` matters for int8 alone. `cache` is where LiteRT's converter has its environment. Raises
    OptionError or MissingExtraError for a form that cannot be made here.
    """
    require_form(kind, precision, bundle.spec)
    convert: Mapping[FileKind, Callable[..., tuple[bytes, ...]]] = {
        "onnx": to_onnx_form,
        "openvino": to_openvino_form,
    }
    files: dict[str, bytes] = {}
    for name in FILES_OF_TASK[bundle.spec.task]:
        path = bundle.folder / name
        if name == WEIGHTS:
            files[name] = path.read_bytes()
            continue
        if kind == "litert":
            contents = to_litert(path, bundle.spec.preprocessing.input_hw, cache)
        else:
            contents = convert[kind](path, precision, calibration.get(name, []))
        files |= dict(zip(in_form(name, kind), contents, strict=True))
    for name in files_of(bundle.spec):
        if name in (REFERENCE, HELD_BACK):
            files[name] = (bundle.folder / name).read_bytes()
    form = ModelForm(kind, precision, made_from=dict(bundle.spec.file_digests))
    return replace(bundle.spec, form=form, file_digests={}), files
