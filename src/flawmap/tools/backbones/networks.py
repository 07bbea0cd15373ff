"""Backbones that end after any of their stages, and the classifier that is trained on top of one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

from flawmap.errors import BackboneError
from flawmap.records import Cut, CutCost, LinearHead, Preprocessing
from flawmap.tools.backbones.padding import fix_padding
from flawmap.tools.backbones.weights import build_network, load_weights
from flawmap.tools.zoo import INPUT_MULTIPLE, BackboneEntry


class _Chain(nn.Module):
    """EfficientNet and its kin: stages are the block groups; stem and head convolution join the outer two."""

    def __init__(self, network: Any, last: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.groups = nn.ModuleList(list(network.blocks)[: last + 1])
        # MobileNetV3 pools before its head convolution, so that is no part of the last map.
        has_tail = isinstance(network, EfficientNet) and last + 1 == len(network.blocks)
        self.tail = nn.Sequential(network.conv_head, network.bn2) if has_tail else nn.Identity()

    def forward(self, images: torch.Tensor, depths: Sequence[int]) -> list[torch.Tensor]:
        maps = []
        x = self.stem(images)
        for depth, group in enumerate(self.groups[: max(depths) + 1]):
            x = group(x)
            if depth + 1 == len(self.groups):
                x = self.tail(x)
            if depth in depths:
                maps.append(x)
        return maps


class _Intermediates(nn.Module):
    """Any network whose intermediate maps timm can return; its last depth is the whole network."""

    def __init__(self, network: Any, last: int) -> None:
        super().__init__()
        self.network = network
        self.last = last
        self.is_whole = last + 1 == count_depths(network)
        network.prune_intermediate_layers([last], prune_norm=not self.is_whole, prune_head=True)

    def forward(self, images: torch.Tensor, depths: Sequence[int]) -> list[torch.Tensor]:
        if not self.is_whole or self.last not in depths:
            return self.network.forward_intermediates(
                images, indices=list(depths), stop_early=True, output_fmt="NCHW", intermediates_only=True
            )
        final, maps = self.network.forward_intermediates(images, indices=list(depths), output_fmt="NCHW")
        return [*maps[:-1], _to_map(final, maps[-1], self.network)]


class _Whole(nn.Module):
    """A network that shows nothing but its last map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, depths: Sequence[int]) -> list[torch.Tensor]:
        return [_to_map(self.network.forward_features(images), None, self.network)]


class Backbone(nn.Module):
    """A network cut after depth `last`; forward(images) → one map (n, k, h', w') per depth asked for.

    Images are (n, 3, h, w) float32 RGB in 0..255; the backbone's own normalisation is its first layer.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, last: int) -> None:
        super().__init__()
        if all(side % INPUT_MULTIPLE == 0 for side in preprocessing.input_hw):
            fix_padding(network)
        if isinstance(network, EfficientNet | MobileNetV3):
            self.body: nn.Module = _Chain(network, last)
        elif count_depths(network) > 1:
            self.body = _Intermediates(network, last)
        else:
            self.body = _Whole(network)
        self.last = last
        self.input_hw = preprocessing.input_hw
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), device="cpu").view(1, 3, 1, 1) * 255
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: torch.Tensor, depths: Sequence[int] | None = None) -> list[torch.Tensor]:
        """Maps in the order of their depths; None: of the last depth alone."""
        if not torch.compiler.is_exporting():
            images = images.contiguous(memory_format=torch.channels_last)
        return self.body((images - self.mean) / self.std, (self.last,) if depths is None else sorted(depths))

    def chained_stages(self) -> list[nn.Module] | None:
        """One module per depth, each fed by the one before; None for a network that is no such chain."""
        return list(self.body.groups) if isinstance(self.body, _Chain) else None

    def stage_parameters(self) -> list[list[nn.Parameter]]:
        """Per depth, the parameters that its map needs and the map before it does not."""
        device = next(self.body.parameters()).device
        image = torch.zeros(1, 3, *self.input_hw, device=device)
        was_training, names = self.training, {id(p): n for n, p in self.body.named_parameters()}
        required = {p: p.requires_grad for p in self.body.parameters()}
        try:
            self.eval()
            self.body.requires_grad_(True)
            with torch.enable_grad():
                maps = self.body(image, range(self.last + 1))
            reached = [_leaves(m.grad_fn) for m in maps]
        finally:
            self.train(was_training)
            for parameter, requires_grad in required.items():
                parameter.requires_grad_(requires_grad)
        order = {key: i for i, key in enumerate(names)}
        stages, seen = [], set()
        for leaves in reached:
            new = [p for p in leaves if id(p) in order and id(p) not in seen]
            seen.update(id(p) for p in new)
            stages.append(sorted(new, key=lambda p: order[id(p)]))
        return stages


class ClassifierNetwork(nn.Module):
    """A backbone cut at `cut.depth` with one linear head over its pooled last map.

    forward(images (n, 3, h, w) float32 RGB 0..255) → (features (n, k, h', w'), logits (n, n_labels)). Dropout
    stands before the head, in training only. Nothing after the cut is kept.
    """

    def __init__(
        self, entry: BackboneEntry, cut: Cut, n_labels: int, dropout: float = 0.2, *, pretrained: bool = True
    ) -> None:
        """`pretrained=False` builds the same network for weights that are about to be loaded into it."""
        super().__init__()
        self.cut = cut
        self.backbone = load_backbone(entry, cut.depth, pretrained=pretrained)
        n_channels, self._stage_names = _describe(self.backbone)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_channels * (2 if cut.pooling == "average+maximum" else 1), n_labels)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.head.weight.normal_(0, 0.01, generator=generator)
            self.head.bias.zero_()
        self._n_frozen = 0
        self.to(memory_format=torch.channels_last)
        self.eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.backbone(images)[0]
        pooled = features.mean((2, 3))
        if self.cut.pooling == "average+maximum":
            pooled = torch.cat([pooled, features.amax((2, 3))], dim=1)
        return features, self.head(self.dropout(pooled))

    @property
    def stages(self) -> list[list[nn.Parameter]]:
        """Parameters of the backbone by depth, the stem with depth 0; one list per depth up to the cut."""
        return [[self.get_parameter(name) for name in names] for names in self._stage_names]

    def freeze(self, n_stages: int) -> None:
        """Keep the first n stages as they are (all: n = depth + 1) and let the rest learn.

        Frozen batch normalisation uses its stored statistics, whatever train() is told later.
        """
        if not 0 <= n_stages <= len(self._stage_names):
            raise ValueError(f"wanted 0 to {len(self._stage_names)} stages; got {n_stages}")
        self._n_frozen = n_stages
        for index, stage in enumerate(self.stages):
            for parameter in stage:
                parameter.requires_grad_(index >= n_stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> ClassifierNetwork:
        super().train(mode)
        if mode and self._n_frozen:
            frozen = {name for names in self._stage_names[: self._n_frozen] for name in names}
            for prefix, module in self.named_modules():
                own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
                if own and frozen.issuperset(own):
                    module.train(False)
        return self

    def get_head(self) -> LinearHead:
        """The head as numpy arrays (copies)."""
        return LinearHead(
            self.head.weight.detach().cpu().numpy().copy(), self.head.bias.detach().cpu().numpy().copy()
        )

    def set_head(self, head: LinearHead) -> None:
        """Take over a head. Raises ValueError where its shape is another."""
        wanted = tuple(self.head.weight.shape)
        if head.weight.shape != wanted:
            raise ValueError(f"wanted a head of (n_labels, d) = {wanted}; got {head.weight.shape}")
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))
            self.head.bias.copy_(torch.from_numpy(head.bias))


def load_backbone(entry: BackboneEntry, last: int | None = None, *, pretrained: bool = True) -> Backbone:
    """An entry's network with its weights, cut after depth `last` (None: its last); eval mode, channels last.

    Raises BackboneError where the weights cannot be had (see load_weights) or the depth does not exist.
    """
    network = load_weights(entry) if pretrained else build_network(entry)
    return cut_backbone(network, entry, last).to(memory_format=torch.channels_last).eval()


def describe_cuts(entry: BackboneEntry) -> dict[int, CutCost]:
    """What the backbone costs at each depth; nothing is computed and no weights are read.

    Bytes are those of the float32 weights with the statistics of normalisation. Multiply-accumulates are
    those of convolutions, matrix products and attention, for one photo at the backbone's input size.
    """
    from torch.utils.flop_counter import FlopCounterMode

    backbone = cut_backbone(build_network(entry, "meta"), entry, None)
    body, stages = backbone.body, backbone.stage_parameters()
    image = torch.zeros(1, 3, *entry.preprocessing.input_hw, device="meta")
    costs, reached = {}, set()
    for depth, stage in enumerate(stages):
        reached.update(id(p) for p in stage)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            last_map = body(image, (depth,))[-1]
        n_parameters, n_values = _count_values(body, reached)
        costs[depth] = CutCost(
            depth, last_map.shape[1], n_parameters, 4 * n_values, counter.get_total_flops() // 2
        )
    return costs


def count_depths(network: Any) -> int:
    """How many depths a timm network can be cut at."""
    if isinstance(network, EfficientNet | MobileNetV3):
        return len(network.blocks)
    wanted = ("forward_intermediates", "prune_intermediate_layers", "feature_info")
    return len(network.feature_info) if all(hasattr(network, name) for name in wanted) else 1


def cut_backbone(network: nn.Module, entry: BackboneEntry, last: int | None) -> Backbone:
    n_depths = min(count_depths(network), entry.n_depths or 10_000)
    last = n_depths - 1 if last is None else last
    if not 0 <= last < n_depths:
        raise BackboneError(f"{entry.id} can be cut at the depths 0 to {n_depths - 1}; got {last}")
    return Backbone(network, entry.preprocessing, last)


def _to_map(final: torch.Tensor, like: torch.Tensor | None, network: Any) -> torch.Tensor:
    """A network's last output as (n, k, h', w'): tokens without prefix on their grid, channels second."""
    if final.ndim == 3:
        tokens = final[:, getattr(network, "num_prefix_tokens", 0) :]
        n, n_tokens, k = tokens.shape
        side = round(n_tokens**0.5)
        height, width = like.shape[2:] if like is not None else (side, side)
        if height * width != n_tokens:
            height, width = 1, n_tokens
        return tokens.transpose(1, 2).reshape(n, k, height, width)
    if final.ndim == 4 and final.shape[1] != network.num_features == final.shape[3]:
        return final.permute(0, 3, 1, 2)
    if final.ndim != 4:
        raise BackboneError(f"wanted a last map (n, k, h, w) or tokens (n, t, k); got {tuple(final.shape)}")
    return final


def _leaves(start: Any) -> list[nn.Parameter]:
    """Parameters that a value was computed from, by its gradient graph."""
    found, seen, waiting = [], set(), [start]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting.extend(parent for parent, _ in node.next_functions)
    return found


def _describe(backbone: Backbone) -> tuple[int, list[list[str]]]:
    """Channels of the last map, and the parameters' names (within a classifier) by depth; without values."""
    shadow = copy.deepcopy(backbone).to("meta")
    with torch.no_grad():
        n_channels = shadow(torch.zeros(1, 3, *backbone.input_hw, device="meta"))[0].shape[1]
    names = {id(p): f"backbone.{n}" for n, p in shadow.named_parameters()}
    return n_channels, [[names[id(p)] for p in stage] for stage in shadow.stage_parameters()]


def _count_values(body: nn.Module, reached: set[int]) -> tuple[int, int]:
    """Parameters among the reached, and those plus the float statistics that stand beside them."""
    n_parameters = sum(p.numel() for p in body.parameters() if id(p) in reached)
    n_statistics = 0
    for module in body.modules():
        if any(id(p) in reached for p in module.parameters(recurse=False)):
            n_statistics += sum(b.numel() for b in module.buffers(recurse=False) if b.is_floating_point())
    return n_parameters, n_parameters + n_statistics
