"""What a value of a network depends on, and where a network is cut; whatever the files.

Geometry after Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks" (Distill
2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

MOST_MARGIN = 5
"""Cells of its input that a segment may need on one side, unless a single layer needs more."""
IMAGE = "image"


class NotLocalError(ValueError):
    """A network in which a value depends on the whole photo; it can only be shown crops."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a network as a network of its own: `image` (n, c, h, w) → `maps` (n, k, h / stride, ...),
    both float32."""

    network: Any
    """An ONNX file's bytes, or OpenVINO's model."""
    first_stride: int
    """Pixels of the photo per cell of its input."""
    stride: int
    """Cells of its input per cell of its output."""
    before: int
    """Cells of its input that a value needs above and to the left of its own; a multiple of `stride`."""
    after: int
    """The same below and to the right."""


@dataclass(frozen=True)
class Window:
    """What a layer that slides over its input sees at once."""

    reach: int
    """Cells between the first and the last that it sees."""
    stride: int
    pad: int
    """Cells that are added before the first one."""


@dataclass(frozen=True)
class Layer:
    """A step of a network that makes one map of others. What else it reads is the same for every photo."""

    kind: str
    """In the words of its file."""
    sources: tuple[str, ...]
    """The maps that it reads."""
    name: str
    """Of the map that it makes."""
    window: Window | None = None
    """None: each value depends on those at its own place."""
    n_channels: int | None = None
    """None: as many as the sources have."""
    may_end: bool = True
    """Whether a segment may end behind it."""


@dataclass(frozen=True)
class Stretch:
    """A segment to be: what leads from one map to another."""

    start: str
    end: str
    first_stride: int
    stride: int
    before: int
    after: int
    n_channels: tuple[int, int]
    """Of its input and its output."""

    def to_segment(self, network: Any) -> Segment:
        """With the network that does it."""
        return Segment(network, self.first_stride, self.stride, self.before, self.after)


@dataclass(frozen=True)
class _Map:
    """Cell i of a tensor depends on pixels i * stride - before to i * stride + after."""

    stride: int
    before: int
    after: int
    n_channels: int

    @property
    def bulk(self) -> float:
        """Values per pixel of the photo."""
        return self.n_channels / self.stride**2


def to_window(
    kind: str, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> Window:
    """The window of a layer of this kind, from what its file says of its rows and columns; of the padding,
    what stands before the first. Raises NotLocalError where the two differ."""
    if any(len(set(sides)) != 1 or len(sides) != 2 for sides in (kernel, strides, dilations, pads)):
        raise NotLocalError(f"{kind} sees more of one side than of the other")
    return Window((kernel[0] - 1) * dilations[0], strides[0], pads[0])


def plan_stretches(layers: Sequence[Layer]) -> tuple[Stretch, ...]:
    """Where to cut a network that leads from IMAGE to the last layer's map, `layers` in their order.

    Raises NotLocalError where layers join maps of different strides.
    """
    maps = _to_maps(layers)
    cuts = _choose_cuts(_find_thin(layers, maps), maps)
    return tuple(_to_stretch(maps, start, end) for start, end in zip((IMAGE, *cuts[:-1]), cuts, strict=True))


def _to_maps(layers: Sequence[Layer]) -> dict[str, _Map]:
    maps = {IMAGE: _Map(1, 0, 0, 3)}
    for layer in layers:
        sources = [maps[name] for name in layer.sources]
        if len({one.stride for one in sources}) > 1:
            raise NotLocalError(f"{layer.kind} joins maps of different strides")
        stride = sources[0].stride
        before, after = max(one.before for one in sources), max(one.after for one in sources)
        if layer.window is not None:
            before += layer.window.pad * stride
            after += max(layer.window.reach - layer.window.pad, 0) * stride
            stride *= layer.window.stride
        n_channels = layer.n_channels or max(one.n_channels for one in sources)
        maps[layer.name] = _Map(stride, before, after, n_channels)
    return maps


def _find_thin(layers: Sequence[Layer], maps: dict[str, _Map]) -> list[str]:
    """Maps through which everything passes; of those that see equally far the thinnest, and of such the last,
    which is the same place in whatever steps a file takes."""
    last_use = {name: i for i, layer in enumerate(layers) for name in layer.sources}
    alive: set[str] = {IMAGE}
    narrow = []
    for i, layer in enumerate(layers):
        alive = {name for name in (*alive, layer.name) if last_use.get(name, len(layers)) > i}
        if alive == {layer.name} and layer.may_end:
            narrow.append(layer.name)
    alike = groupby(narrow, lambda name: (maps[name].stride, maps[name].before, maps[name].after))
    thin = [min(reversed(list(names)), key=lambda name: maps[name].bulk) for _, names in alike]
    return [*thin[:-1], narrow[-1]]


def _choose_cuts(thin: list[str], maps: dict[str, _Map]) -> list[str]:
    """As few as keep every margin within MOST_MARGIN cells of the segment's input."""
    cuts, start = [], maps[IMAGE]
    for name, following in zip(thin, [*thin[1:], None], strict=True):
        if following is None:
            cuts.append(name)
            break
        allowed = MOST_MARGIN * start.stride * (4 if start.stride == 1 else 1)
        end = maps[following]
        if max(end.before - start.before, end.after - start.after) > allowed:
            cuts.append(name)
            start = maps[name]
    return cuts


def _to_stretch(maps: dict[str, _Map], start: str, end: str) -> Stretch:
    first, last = maps[start], maps[end]
    ratio = last.stride // first.stride
    before, after = (
        -(-distance // (first.stride * ratio)) * ratio
        for distance in (last.before - first.before, last.after - first.after)
    )
    return Stretch(start, end, first.stride, ratio, before, after, (first.n_channels, last.n_channels))
