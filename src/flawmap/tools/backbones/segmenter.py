"""A backbone under a decoder of segmentation_models_pytorch: photos in, a map of logits per label out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from flawmap.errors import BackboneError, option
from flawmap.records import Decoder
from flawmap.tools.backbones.decoders import mend_decoder
from flawmap.tools.backbones.networks import INPUT_MULTIPLE, Backbone, cut_backbone, load_backbone
from flawmap.tools.backbones.padding import PaddedConv2d
from flawmap.tools.backbones.weights import build_network
from flawmap.tools.words import counted
from flawmap.tools.zoo import BackboneEntry

_WIDTHS = (128, 64, 32, 32, 16)
"""Channels of a U-Net's blocks, coarsest first; a shallower one takes the last. About half of the library's:
the backbones are small too, and masks of thin cracks were as good at 0.6 times the cost."""
_BY_BLOCK = ("unet", "unetplusplus", "manet")
"""Decoders that are told the channels of every block."""
_ENCODER = "flawmap"
_MIN_LEVELS = 3
"""Maps of different strides that every decoder can stand on."""


class SegmenterNetwork(nn.Module):
    """forward(images (n, 3, h, w) float32 RGB 0..255) → logits (n, n_labels, h, w).

    h and w are multiples of 32. A label's logit says how likely the pixel carries that label. With
    `is_exclusive` a pixel carries one label at most: the head says how likely there is any flaw and which one
    it would be, so that all labels teach where flaws are and likelihoods of labels can be compared. Without
    it, a label's logit stands whatever the others say: pixels may carry none, one or several.
    """

    def __init__(
        self,
        entry: BackboneEntry,
        depth: int,
        decoder: Decoder,
        n_labels: int,
        *,
        is_exclusive: bool = False,
        pretrained: bool = True,
    ) -> None:
        """`depth` is where the backbone is cut. Raises BackboneError for a backbone or a depth
        that the decoder cannot stand on."""
        super().__init__()
        with torch.random.fork_rng(devices=()):
            _seed()
            encoder = _Encoder(load_backbone(entry, depth, pretrained=pretrained))
            _seed()  # so that the decoder starts alike, whether weights were loaded or not
            n_channels = n_labels + 1 if is_exclusive else n_labels
            network = _assemble(decoder, encoder, n_channels, entry)
        mend_decoder(network.decoder)
        self.n_last_channels = encoder.out_channels[-1]
        """Of the backbone's last map."""
        self.backbone = encoder.backbone
        self._depths = encoder.depths
        self.decoder, self.head = network.decoder, network.segmentation_head
        self.is_exclusive = is_exclusive
        self.to(memory_format=torch.channels_last)
        self.eval()

    def freeze(self, n_stages: int) -> None:
        """Keep the first stages of the backbone as they are; its last one always learns."""
        stages = self.backbone.stage_parameters()
        for depth, stage in enumerate(stages):
            for parameter in stage:
                parameter.requires_grad_(depth >= min(n_stages, len(stages) - 1))

    def start_from(self, shares: Sequence[float]) -> None:
        """Let the head, before it has learnt anything, give each label the likelihood of its share (0..1) of
        all pixels, so that learning does not begin with unlearning a flaw on every second pixel (Lin et al.,
        Focal loss, ICCV 2017, section 4.1)."""
        likely = torch.tensor(shares, dtype=torch.float64).clamp(1e-5, 0.5)
        with torch.no_grad():
            if self.is_exclusive:
                self.head[0].bias[0] = likely.sum().clamp(max=0.5).logit()
                self.head[0].bias[1:] = (likely / likely.sum()).log()
            else:
                self.head[0].bias[:] = likely.logit()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        normalised = (images - self.backbone.mean) / self.backbone.std  # decoders of three levels look at it
        features = [normalised, *self.backbone(images, self._depths)]
        found = self.head(self.decoder(features))
        return _to_label_logits(found) if self.is_exclusive else found


def _to_label_logits(found: torch.Tensor) -> torch.Tensor:
    """(n, 1 + n_labels, h, w), a logit of any flaw and scores of which it would be → (n, n_labels, h, w), a
    logit of each label: P(label) = P(any) P(label | any).

    Written out, because ONNX Runtime takes twice as long for its own LogSoftmax over labels, and its sigmoid
    of what is surely none is 0, which has no logarithm.
    """
    found = found.float()
    which = found[:, 1:] - found[:, 1:].detach().amax(dim=1, keepdim=True)
    log_p = which - (F.softplus(-found[:, :1]) + which.exp().sum(dim=1, keepdim=True).log())
    return log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))


def _seed() -> None:
    """Of the processor's generator alone; torch.manual_seed would set those of the GPUs too."""
    torch.default_generator.manual_seed(0)


class _Encoder(nn.Module):
    """What the library asks of an encoder: a map per halving of the photo's size, the photo itself first."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        strides, channels = _measure(backbone)
        last_of = {stride: depth for depth, stride in enumerate(strides)}
        self.depths = tuple(last_of.values())
        self.out_channels = [3, *(channels[depth] for depth in self.depths)]
        self.strides = list(last_of)
        self.output_stride = self.strides[-1]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Photos have three channels, always."""

    def make_dilated(self, output_stride: int) -> None:
        """Stages that would be coarser keep the map's size and look at pixels further apart instead."""
        if self.output_stride <= output_stride:
            return
        stages = self.backbone.chained_stages()
        if stages is None:
            raise BackboneError(
                f"this decoder wants maps no coarser than {output_stride} pixels, which the backbone cannot "
                "be kept to; choose another decoder, or cut the backbone earlier"
            )
        strides, _ = _measure(self.backbone)
        for stage, stride in zip(stages, strides, strict=True):
            if stride > output_stride:
                _dilate(stage, stride // output_stride)
        self.output_stride = output_stride


def _measure(backbone: Backbone) -> tuple[list[int], list[int]]:
    """Stride and channels of the map at each depth; nothing is computed.

    Raises BackboneError for a backbone that takes photos of one size only.
    """
    shadow = copy.deepcopy(backbone).to("meta")
    side = 4 * INPUT_MULTIPLE
    try:
        with torch.no_grad():
            maps = shadow(torch.zeros(1, 3, side, side, device="meta"), range(backbone.last + 1))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"no decoder stands on this backbone, which does not take photos of any size ({error}); choose "
            "another, such as efficientnet_lite0"
        ) from error
    return [side // m.shape[2] for m in maps], [m.shape[1] for m in maps]


def _dilate(stage: nn.Module, rate: int) -> None:
    for layer in stage.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        layer.stride = (1, 1)
        if layer.kernel_size != (1, 1):
            layer.dilation = (rate, rate)
            height, width = ((k - 1) * rate // 2 for k in layer.kernel_size)
            if isinstance(layer, PaddedConv2d):
                layer.pad = (width, width, height, height)
            else:
                layer.padding = (height, width)


def _assemble(decoder: Decoder, encoder: _Encoder, n_labels: int, entry: BackboneEntry) -> Any:
    """The library's network around our encoder, which its registry holds for that long only."""
    import segmentation_models_pytorch as smp

    name = entry.id
    n_levels = len(encoder.strides)
    if encoder.strides != [2 ** (i + 1) for i in range(n_levels)]:
        raise BackboneError(
            f"{name} gives maps at strides {encoder.strides}; a decoder wants 2, 4, 8, …: choose another "
            "backbone, such as efficientnet_lite0"
        )
    if n_levels < _MIN_LEVELS:
        raise BackboneError(
            f"{name} cut at depth {encoder.backbone.last} gives {counted(n_levels, 'map')}; a decoder wants "
            f"{_MIN_LEVELS} or more: {_deeper_words(entry)}"
        )
    options: dict[str, Any] = {"decoder_channels": _WIDTHS[-n_levels:]} if decoder in _BY_BLOCK else {}
    if decoder == "pspnet":
        options["upsampling"] = encoder.output_stride
    elif decoder == "fpn":
        options["upsampling"] = 2 ** (n_levels - 3)  # it answers at the third level above its last
    registry: dict[str, Any] = smp.encoders.encoders
    registry[_ENCODER] = {"encoder": lambda depth, output_stride: encoder, "params": {}}
    try:
        return smp.create_model(
            decoder,
            encoder_name=_ENCODER,
            encoder_weights=None,
            classes=n_labels,
            encoder_depth=n_levels,
            **options,
        )
    except ValueError as error:
        raise BackboneError(
            f"{decoder} does not stand on {name} cut at depth {encoder.backbone.last}: {error}"
        ) from error
    finally:
        del registry[_ENCODER]


def default_depth(entry: BackboneEntry) -> int:
    """The first depth whose map is as coarse as the whole backbone's: what follows adds cost, not context."""
    strides = _all_strides(entry)
    return strides.index(strides[-1])


def _all_strides(entry: BackboneEntry) -> list[int]:
    return _measure(cut_backbone(build_network(entry, "meta"), entry, None))[0]


def _deeper_words(entry: BackboneEntry) -> str:
    """What to do where a backbone is cut too early for a decoder."""
    strides = _all_strides(entry)
    levels = list(dict.fromkeys(strides))
    if len(levels) < _MIN_LEVELS:
        return "choose another backbone, such as efficientnet_lite0"
    least = strides.index(levels[_MIN_LEVELS - 1])
    return f"cut it at depth {least} or later, with {option('--max-depth')}"
