"""Cut a network's file into segments that can each be run piece by piece over a large photo.

Every value of a convolutional network depends on a bounded neighbourhood. Seen through the whole network that
is hundreds of pixels (556 for EfficientNet-Lite1 at depth 5), and pieces with such margins would be mostly
margin. So the network is cut where its maps are thin; each segment sees a few cells only, is run over the
whole map of the one before it, and the pieces' margins cost little. Geometry after Araujo, Norris and Sim,
"Computing receptive fields of convolutional neural networks" (Distill 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import require_extra

MOST_MARGIN = 5
"""Cells of its input that a segment may need on one side, unless a single layer needs more."""
_ELEMENTWISE = {
    "Add", "BatchNormalization", "Clip", "Div", "Dropout", "Elu", "Erf", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid", "Sub", "Tanh",
    "DequantizeLinear", "QuantizeLinear",
}  # fmt: skip
_SLIDING = {"Conv", "MaxPool", "AveragePool"}
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class NotLocalError(ValueError):
    """A network in which a value depends on the whole photo; it can only be shown crops."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a network as a file of its own: `image` (n, c, h, w) → `maps` (n, k, h / stride, ...)."""

    content: bytes
    first_stride: int
    """Pixels of the photo per cell of its input."""
    stride: int
    """Cells of its input per cell of its output."""
    before: int
    """Cells of its input that a value needs above and to the left of its own; a multiple of `stride`."""
    after: int
    """The same below and to the right."""


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


def split_network(file: Path, output: str = "features") -> tuple[Segment, ...]:
    """The segments of a model file that lead from `image` to an output, in their order.

    Raises NotLocalError where the output is not a map of neighbourhoods, and MissingExtraError.
    """
    require_extra("onnx", "inspect")
    import onnx

    model = onnx.load(str(file))
    constants = {array.name: array for array in model.graph.initializer}
    nodes = _leading_to(model.graph.node, output, constants)
    shapes = _fixed_shapes(nodes, constants)
    moving = [node for node in nodes if node.output[0] not in shapes]
    maps = _to_maps(moving, shapes)
    cuts = _choose_cuts(_find_thin(moving, maps), maps)
    return tuple(
        _to_segment(model, nodes, constants, maps, (first, last))
        for first, last in zip(("image", *cuts[:-1]), cuts, strict=True)
    )


def _leading_to(nodes: Any, output: str, constants: dict[str, Any]) -> list[Any]:
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            found.append(node)
            wanted |= set(node.input) - set(constants)
    return found[::-1]


def _fixed_shapes(nodes: list[Any], constants: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of what is the same for every photo: constants, and weights that are kept in eight bits."""
    shapes = {name: tuple(array.dims) for name, array in constants.items()}
    for node in nodes:
        if node.op_type == _DEQUANTIZE and set(node.input) <= set(shapes):
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _to_maps(nodes: list[Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, _Map]:
    maps = {"image": _Map(1, 0, 0, 3)}
    for node in nodes:
        inputs = [maps[name] for name in node.input if name in maps]
        if not inputs or len(node.output) != 1 or node.op_type not in _ELEMENTWISE | _SLIDING:
            raise NotLocalError(f"{node.op_type} does not work on neighbourhoods")
        if len({one.stride for one in inputs}) > 1:
            raise NotLocalError(f"{node.op_type} joins maps of different strides")
        widest = _Map(
            inputs[0].stride,
            max(one.before for one in inputs),
            max(one.after for one in inputs),
            max(one.n_channels for one in inputs),
        )
        maps[node.output[0]] = _slide(node, widest, shapes) if node.op_type in _SLIDING else widest
    return maps


def _slide(node: Any, source: _Map, shapes: dict[str, tuple[int, ...]]) -> _Map:
    from onnx import helper

    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    shape = shapes[node.input[1]] if node.op_type == "Conv" else ()
    kernel = tuple(given.get("kernel_shape", shape[2:]))
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    pads = given.get("pads", [0, 0, 0, 0])
    is_square = kernel[0] == kernel[1] and strides[0] == strides[1] and dilations[0] == dilations[1]
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or not is_square or pads[0] != pads[1]:
        raise NotLocalError(f"{node.op_type} with a padding or a shape that is not known here")
    reach = (kernel[0] - 1) * dilations[0]
    return _Map(
        source.stride * strides[0],
        source.before + pads[0] * source.stride,
        source.after + max(reach - pads[0], 0) * source.stride,
        shape[0] if shape else source.n_channels,
    )


def _find_thin(nodes: list[Any], maps: dict[str, _Map]) -> list[str]:
    """Tensors through which everything passes, and that are no bulkier than those before and after them."""
    last_use = {name: i for i, node in enumerate(nodes) for name in node.input}
    alive: set[str] = {"image"}
    narrow = []
    for i, node in enumerate(nodes):
        alive = {name for name in alive | set(node.output) if last_use.get(name, len(nodes)) > i}
        if alive == {node.output[0]} and node.op_type != _QUANTIZE:
            narrow.append(node.output[0])
    bulks = [np.inf, *(maps[name].bulk for name in narrow), np.inf]
    return [
        name
        for i, name in enumerate(narrow, start=1)
        if bulks[i] <= min(bulks[i - 1], bulks[i + 1]) or name == narrow[-1]
    ]


def _choose_cuts(thin: list[str], maps: dict[str, _Map]) -> list[str]:
    """As few as keep every margin within MOST_MARGIN cells of the segment's input."""
    cuts, start = [], maps["image"]
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


def _quantize_again(nodes: list[Any], start: str) -> list[Any]:
    """Where a segment starts with a map that was in eight bits, the two nodes that make it so again: the same
    values, and layers behind them compute in eight bits only if they see these nodes."""
    made_by = {node.output[0]: node for node in nodes}
    ends = made_by.get(start)
    if ends is None or ends.op_type != _DEQUANTIZE:
        return []
    copies = []
    for node, names in ((made_by[ends.input[0]], ("image", "eight")), (ends, ("eight", "again"))):
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[0], copy.output[0] = names
        copies.append(copy)
    return copies


def _to_segment(
    model: Any, nodes: list[Any], constants: dict[str, Any], maps: dict[str, _Map], ends: tuple[str, str]
) -> Segment:
    from onnx import TensorProto, helper

    names = {ends[0]: "image", ends[1]: "maps"}
    chosen = _quantize_again(nodes, ends[0])
    if chosen:
        names[ends[0]] = chosen[-1].output[0]
    for node in _leading_to(nodes, ends[1], {**constants, ends[0]: None}):
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        chosen.append(copy)
    used = {name for node in chosen for name in node.input}
    to_value = helper.make_tensor_value_info
    first, last = maps[ends[0]], maps[ends[1]]
    graph = helper.make_graph(
        chosen,
        "segment",
        [to_value("image", TensorProto.FLOAT, ["n", first.n_channels, "h", "w"])],
        [to_value("maps", TensorProto.FLOAT, ["n", last.n_channels, "h_out", "w_out"])],
        [array for name, array in constants.items() if name in used],
    )
    file = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    ratio = last.stride // first.stride
    before, after = (
        -(-distance // (first.stride * ratio)) * ratio
        for distance in (last.before - first.before, last.after - first.after)
    )
    return Segment(file.SerializeToString(), first.stride, ratio, before, after)
