"""A model folder: write it whole or not at all, read it only if it is complete and unaltered.

    model.onnx            image (n, 3, h, w) float32 RGB 0..255 → features (n, k, h', w'), logits (n, labels)
    weights.safetensors   head.weight, head.bias: what the class-activation map needs beside `features`
    reference.safetensors what the training tiles look like to the network; see tools.familiarity
    held_back.safetensors what the model says of photos that training never read; see tools.familiarity
    masks.onnx            image as above, h and w multiples of 32 → masks (n, labels, h, w): logits
    flawmap.json          ModelSpec, with the SHA-256 of the files above
    README.md             the model card; a person may edit it, so it carries no digest

A classifier has the first two, a segmenter masks.onnx, a cascade model.onnx, its weights and masks.onnx; what
speaks of the training photos is there where training made it. `flawmap export` writes the networks in other
forms: model.xml and model.bin (OpenVINO), model.tflite (LiteRT) in the place of model.onnx.

The weights file holds two float32 arrays in a format of one page (a length, a JSON header, the numbers), so
it is read and written here: the light half of flawmap needs no further package.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flawmap.errors import BundleError, option
from flawmap.records import FileKind, LinearHead, ModelSpec
from flawmap.tools.card import to_card
from flawmap.tools.familiarity import HeldBack, Reference
from flawmap.tools.files import check_new_folder, new_folder, sync_folder, write_file, writing
from flawmap.tools.plain import Reading, to_plain, to_record

FORMAT_VERSION = 1
MODEL, WEIGHTS, SPEC, CARD = "model.onnx", "weights.safetensors", "flawmap.json", "README.md"
MASKS = "masks.onnx"
REFERENCE, HELD_BACK = "reference.safetensors", "held_back.safetensors"
FILES_OF_TASK = {
    "classification": (MODEL, WEIGHTS),
    "multilabel": (MODEL, WEIGHTS),
    "segmentation": (MASKS,),
    "cascade": (MODEL, WEIGHTS, MASKS),
}
"""The files that carry a digest, as training writes them."""
_ENDINGS: dict[FileKind, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "openvino": (".xml", ".bin"),
    "litert": (".tflite",),
}
MAX_HEADER_BYTES = 1 << 20
Arrays = TypeVar("Arrays", Reference, HeldBack)
_READING = Reading(BundleError, key="key", record="an object", null_is_nan=True)


@dataclass(frozen=True)
class Bundle:
    """A model folder that was found complete and unaltered."""

    folder: Path
    spec: ModelSpec

    @property
    def model_path(self) -> Path:
        return self.folder / in_form(MODEL, self.spec.form.kind)[0]

    @cached_property
    def head(self) -> LinearHead:
        """The linear head from `weights.safetensors`. Raises BundleError where it does not fit the labels."""
        file = self.folder / WEIGHTS
        return _to_head(file.read_bytes(), self.spec, str(file))

    @cached_property
    def reference(self) -> Reference | None:
        """What the training tiles looked like to the network; None in folders that do not keep it."""
        return self._read_arrays(REFERENCE, Reference)

    @cached_property
    def held_back(self) -> HeldBack | None:
        """What the model says of photos that training never read; None in folders that do not keep it."""
        return self._read_arrays(HELD_BACK, HeldBack)

    def _read_arrays(self, name: str, kind: type[Arrays]) -> Arrays | None:
        """A record whose fields are all arrays."""
        if name not in files_of(self.spec):
            return None
        file = self.folder / name
        arrays = to_arrays(file.read_bytes(), str(file))
        try:
            return kind(*(arrays[one.name] for one in fields(kind)))
        except (KeyError, ValueError) as error:
            raise BundleError(
                f"{file} does not hold what it should ({error}). Train the model again."
            ) from error

    @property
    def masks_path(self) -> Path:
        return self.folder / in_form(MASKS, self.spec.form.kind)[0]


def in_form(name: str, kind: FileKind) -> tuple[str, ...]:
    """What a file that training writes is called in another form; the one that is opened stands first."""
    if not name.endswith(".onnx"):
        return (name,)
    return tuple(name.removesuffix(".onnx") + ending for ending in _ENDINGS[kind])


def files_of(spec: ModelSpec) -> tuple[str, ...]:
    """The files of a model folder that carry a digest."""
    files = tuple(name for plain in FILES_OF_TASK[spec.task] for name in in_form(plain, spec.form.kind))
    has_reference = spec.findings is not None and spec.findings.most_distance is not None
    is_there = {REFERENCE: has_reference, HELD_BACK: spec.held_back is not None}
    return (*files, *(name for name, there in is_there.items() if there))


def _to_head(content: bytes, spec: ModelSpec, where: str) -> LinearHead:
    arrays = to_arrays(content, where)
    if not {"head.weight", "head.bias"} <= set(arrays):
        raise BundleError(f"{where} lacks head.weight or head.bias. Export the model again.")
    head = LinearHead(arrays["head.weight"], arrays["head.bias"])
    n_outputs = len(spec.labels) + (spec.cascade is not None and len(spec.labels) > 1)
    if len(head.bias) != n_outputs:
        raise BundleError(
            f"{where} holds {len(head.bias)} outputs; {SPEC} lists {len(spec.labels)} labels. Export the "
            "model again."
        )
    return head


def is_bundle(path: Path) -> bool:
    """Whether `path` is a run folder with a model in it, or a model folder."""
    return any((folder / SPEC).is_file() for folder in _folders(path))


def find_bundle(path: Path) -> Path:
    """The model folder itself, given RUN or RUN/model. Raises BundleError."""
    for folder in _folders(path):
        if (folder / SPEC).is_file():
            return folder
    remedy = "Give a run folder of 'flawmap train', or its model folder."
    if not path.exists():
        raise BundleError(f"there is no folder {path}. {remedy}")
    if path.is_file():
        raise BundleError(f"{path} is a file; a model's folder was wanted in its place. {remedy}")
    raise BundleError(
        f"{path} holds no model, which is named first: wanted {SPEC} in it or in {path / 'model'}. {remedy}"
    )


def _folders(path: Path) -> tuple[Path, Path]:
    return path, path / "model"


def read_bundle(path: Path | str) -> Bundle:
    """The model in RUN or RUN/model, its files checked against their digests. Raises BundleError."""
    folder = find_bundle(Path(path))
    spec = to_spec(_read(folder / SPEC), str(folder / SPEC))
    for name in files_of(spec):
        wanted = spec.file_digests.get(name)
        if wanted is None:
            raise BundleError(f"{folder / SPEC} has no digest of {name}. Export the model again.")
        if digest_of(_read(folder / name)) != wanted:
            raise BundleError(
                f"{folder / name} was altered after it was exported (its SHA-256 is not the one in {SPEC}). "
                "Copy the folder again from its source, or export the model again."
            )
    return Bundle(folder, spec)


def write_bundle(
    folder: Path, spec: ModelSpec, model: bytes, head: LinearHead, overwrite: bool = False
) -> Bundle:
    """Write the model folder of a classifier. See write_files."""
    weights = from_arrays({"head.weight": head.weight, "head.bias": head.bias})
    return write_files(folder, spec, {MODEL: model, WEIGHTS: weights}, overwrite)


def write_files(folder: Path, spec: ModelSpec, files: Mapping[str, bytes], overwrite: bool = False) -> Bundle:
    """Write a whole model folder beside its place, then move it there in one step.

    `files` are those of the spec's task. `spec.file_digests` is filled here. A reader sees the old folder or
    the new one, never a half. Raises BundleError where `folder` exists and `overwrite` is not set,
    OptionError where it cannot be written.
    """
    if set(files) != set(files_of(spec)):
        raise ValueError(f"wanted {files_of(spec)} for {spec.task}; got {sorted(files)}")
    check_place(folder, overwrite)
    digests = {name: digest_of(content) for name, content in files.items()}
    spec = replace(spec, file_digests=digests, format_version=FORMAT_VERSION)
    head = _to_head(files[WEIGHTS], spec, WEIGHTS) if WEIGHTS in files else None
    contents = {**files, SPEC: from_spec(spec), CARD: to_card(spec, head).encode()}
    with new_folder(folder) as unfinished, writing(folder):
        for name, content in contents.items():
            _write(unfinished / name, content)
    return Bundle(folder, spec)


def check_place(folder: Path, overwrite: bool) -> None:
    """Raise BundleError unless a model folder may be written at `folder`: over another one only with
    `overwrite`, over other files never. OptionError where no folder can be made there."""
    check_new_folder(folder)
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / SPEC).is_file():
        raise BundleError(f"{folder} holds files that are no model. Choose another folder.")
    if not overwrite:
        raise BundleError(f"{folder} exists already. Choose another folder, or pass {option('--overwrite')}.")


def write_spec(
    bundle: Bundle,
    spec: ModelSpec,
    reference: Reference | None = None,
    held_back: HeldBack | None = None,
) -> Bundle:
    """The same model with new metrics or thresholds: rewrites flawmap.json and the card, each in one step.

    `reference` and `held_back` are written first; they have to be given with the first spec that needs them.
    """
    digests = dict(bundle.spec.file_digests)
    for name, record in ((REFERENCE, reference), (HELD_BACK, held_back)):
        if record is not None:
            content = from_arrays({one.name: getattr(record, one.name) for one in fields(record)})
            write_file(bundle.folder / name, content)
            digests[name] = digest_of(content)
    spec = replace(spec, file_digests=digests, format_version=FORMAT_VERSION)
    head = bundle.head if WEIGHTS in FILES_OF_TASK[spec.task] else None
    for name, content in ((CARD, to_card(spec, head)), (SPEC, from_spec(spec))):
        write_file(bundle.folder / name, content)
    sync_folder(bundle.folder)
    return Bundle(bundle.folder, spec)


def digest_of(content: bytes) -> str:
    """SHA-256 in hexadecimal, so that `sha256sum` can check a folder without flawmap."""
    return hashlib.sha256(content).hexdigest()


# --- flawmap.json -------------------------------------------------------------------------------------------


def from_spec(spec: ModelSpec) -> bytes:
    """flawmap.json as bytes: indented, UTF-8; what is not a number is null."""
    return (json.dumps(to_plain(spec), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_spec(content: bytes, where: str = SPEC) -> ModelSpec:
    """A ModelSpec from the bytes of flawmap.json. Raises BundleError for anything it does not know."""
    try:
        values = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{where} is not valid JSON ({error}). Export the model again.") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(
            f"{where} has no format_version, so it is no flawmap model. Export the model again."
        )
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{where} has format {version}, made by a newer flawmap; this one reads up to {FORMAT_VERSION}. "
            "Update it with: pip install --upgrade flawmap"
        )
    spec = to_record(ModelSpec, values, where, _READING)
    if (spec.masks is None) == (MASKS in FILES_OF_TASK[spec.task]):
        raise BundleError(f"{where}: a {spec.task} model {'lacks' if spec.masks is None else 'has'} masks")
    if (spec.cascade is None) == (spec.task == "cascade"):
        has = "lacks" if spec.cascade is None else "has"
        raise BundleError(f"{where}: a {spec.task} model {has} a cascade")
    n_masks = len(spec.labels) if spec.masks is None else len(spec.masks.cleaning.thresholds)
    if n_masks != len(spec.labels):
        raise BundleError(
            f"{where}: masks: wanted {len(spec.labels)} thresholds, one per label; got {n_masks}"
        )
    if len(set(spec.labels)) != len(spec.labels) or len(spec.labels) < 2 - spec.is_multilabel:
        raise BundleError(f"{where}: wanted two or more different labels; got {list(spec.labels)}")
    if not set(spec.good_labels) <= set(spec.labels):
        raise BundleError(f"{where}: good_labels {list(spec.good_labels)} are not all among the labels")
    return spec


# --- weights.safetensors ------------------------------------------------------------------------------------


def from_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Float32 arrays in the safetensors format: length of the header (8 bytes), JSON header, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    contents, start = [], 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, "<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [start, start + len(content)],
        }
        contents.append(content)
        start += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(contents)


def to_arrays(content: bytes, where: str = WEIGHTS) -> dict[str, np.ndarray]:
    """The float32 arrays of a safetensors file. Raises BundleError for anything else."""
    try:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 or length > min(len(content) - 8, MAX_HEADER_BYTES):
            raise ValueError("the header is cut off")
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__", None)
        numbers = memoryview(content)[8 + length :]
        arrays = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if entry["dtype"] != "F32" or not 0 <= start <= end <= len(numbers):
                raise ValueError(f"{name} is not float32 within the file")
            arrays[name] = np.frombuffer(numbers[start:end], "<f4").reshape(entry["shape"]).copy()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{where} is not a readable weights file ({error}). Export the model again."
        ) from error
    return arrays


# --- the disk -----------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. Copy or export the model again.") from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
