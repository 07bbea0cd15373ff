"""Options of training; no torch, so that the command line can read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flawmap.errors import OptionError
from flawmap.records import Decoder
from flawmap.tools.options import Options


@dataclass(frozen=True)
class AugmentOptions(Options):
    """Each photo draws its changes evenly from ranges: factors 1 ± brightness, contrast, saturation; hue
    turned by at most ± `hue` of a full turn. `turns` adds quarter turns, for surfaces without up or grain.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.03
    flip_left_right: bool = True
    flip_up_down: bool = True
    turns: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise OptionError(f"{name} is {value}; it must be at least 0 and below 1")
        if not 0 <= self.hue <= 0.5:
            raise OptionError(f"hue is {self.hue}; it must lie between 0 and 0.5 (half a turn)")


MaskLoss = Literal["dice+bce", "focal", "tversky+bce", "cldice"]


@dataclass(frozen=True)
class MaskTrainOptions(Options):
    """How masks are learnt. Nothing here depends on the clock: equal options give equal bits."""

    seed: int = 0
    backbone: str = "efficientnet_lite0"
    """Id of the backbone under the decoder."""
    depth: int | None = None
    """Where the backbone is cut. None: at the first of its coarsest maps."""
    decoder: Decoder = "unet"
    loss: MaskLoss = "dice+bce"
    epochs: int | None = None
    """None: what `teramacs` allows, 15 to 100."""
    teramacs: float = 30.0
    """Where `epochs` is None: epochs × crops × multiply-accumulates of one forward pass, in 10^12."""
    crop_px: int = 320
    """Side of the crops; a multiple of 32. Smaller photos are padded by mirroring, never stretched."""
    flaw_share: float = 0.5
    """Of a flawed photo's crops, the share that lies over a flaw; its label is drawn evenly among those
    of the photo, so that small flaws beside large ones are seen."""
    good_share: float = 0.25
    """Of an epoch's crops at most this share comes from photos without a flaw; 1: all of them, each time."""
    frozen_stages: int = 0
    """Early stages of the backbone that stay as they are; each spares time and costs some accuracy, because
    thin flaws are seen by the early ones."""
    learning_rate: float = 2e-3
    """Of the decoder, which is new."""
    backbone_learning_rate: float = 5e-4
    weight_decay: float = 0.01
    patience: int = 30
    """Epochs without a better validation score after which training ends."""
    refit_share: float = 0.5
    """When all that validation decides is decided, the network goes on with the validation photos too, for
    this share of the epochs; 0: it does not."""
    batch_size: int = 4
    """Small: at the same cost it gives twice the steps of 8."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    zoom: float = 0.3
    """Crops are shown larger or smaller by a factor of up to 1 + zoom, mask alike; 0: as they are."""
    rotate_deg: float = 30.0
    """Crops are turned by up to this much to either side; 0: not at all."""
    logger: Literal["wandb", "mlflow"] | None = None
    """Where the curves go besides TensorBoard's events."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic; auto: bfloat16 where the machine computes in it, else float32."""
    memory_gb: float = 2.0
    """Decoded photos are held in memory up to this size; beyond it each is read when it is needed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "teramacs",
            "patience",
            "memory_gb",
            "weight_decay",
            "frozen_stages",
            "zoom",
            "rotate_deg",
        ):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name in ("learning_rate", "backbone_learning_rate"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.batch_size < 2:
            raise OptionError(
                f"batch_size is {self.batch_size}; masks need 2 or more, to normalise over crops"
            )
        if self.crop_px < 64 or self.crop_px % 32:
            raise OptionError(f"crop_px is {self.crop_px}; it must be a multiple of 32, 64 or more")
        for name in ("flaw_share", "good_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        if (self.epochs or 0) < 0:
            raise OptionError("epochs must not be negative")

    def n_epochs(self, n_crops: int, macs: int) -> int:
        """Epochs for that many crops at that many multiply-accumulates each."""
        if self.epochs is not None:
            return self.epochs
        return min(100, max(15, round(self.teramacs * 1e12 / max(1, n_crops * macs))))


@dataclass(frozen=True)
class TrainOptions(Options):
    """How a classifier is trained. Nothing here depends on the clock: equal options give equal bits."""

    seed: int = 0
    head_epochs: int = 30
    """Of the head on the frozen backbone; 0 leaves that contender out."""
    head_views: int = 2
    """Augmented views of each photo that the frozen backbone sees once; the head's epochs draw from them."""
    head_learning_rate: float = 1e-3
    epochs: int | None = None
    """Of fine-tuning; 0 leaves that contender out. None: what `teramacs` allows, 4 to 40."""
    teramacs: float = 4.5
    """Where `epochs` is None: epochs × photos × multiply-accumulates of one forward pass, in 10^12."""
    frozen_stages: int | None = None
    """Early stages that fine-tuning leaves as they are. None: all but the last two."""
    learning_rate: float = 3e-4
    """Of the fine-tuned stages; the head takes `head_learning_rate`."""
    weight_decay: float = 0.01
    dropout: float = 0.2
    label_smoothing: float = 0.0
    patience: int = 10
    """Epochs without a better validation score after which a phase ends."""
    refit_share: float = 0.5
    """When all that validation decides is decided, what won goes on with the validation photos too, for this
    share of its epochs; 0: it does not."""
    batch_size: int = 32
    balance: float = 0.5
    """Photos of a class weigh (mean class size / class size) ** balance in the loss: 0 all photos alike,
    1 all classes alike."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    logger: Literal["wandb", "mlflow"] | None = None
    """Where the curves go besides TensorBoard's events."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    memory_gb: float = 2.0
    """Decoded photos are held in memory up to this size, and beyond it in one file beside the checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("head_epochs", "teramacs", "patience", "memory_gb", "weight_decay", "refit_share"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name in ("head_views", "batch_size", "head_learning_rate", "learning_rate"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if not 0 <= self.balance <= 1:
            raise OptionError(f"balance is {self.balance}; it must lie between 0 and 1")
        if (self.epochs or 0) < 0 or (self.frozen_stages or 0) < 0:
            raise OptionError("epochs and frozen_stages must not be negative")

    def n_epochs(self, n_photos: int, macs: int) -> int:
        """Epochs of fine-tuning for that many training photos at that many multiply-accumulates each."""
        if self.epochs is not None:
            return self.epochs
        return min(40, max(4, round(self.teramacs * 1e12 / max(1, n_photos * macs))))

    def n_frozen(self, depth: int) -> int:
        """Stages left as they are in a network that ends after stage `depth`."""
        if self.frozen_stages is not None:
            return min(self.frozen_stages, depth + 1)
        return max(0, depth - 1)
