"""Segments of OpenVINO's files: float32, weights in 16 bits, or eight bits between FakeQuantize nodes.

OpenVINO's graph says shapes by nodes of their own; what they compute of known shapes is the same for every
photo.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flawmap.errors import require_extra
from flawmap.tools.openvino_import import import_openvino
from flawmap.tools.segments.geometry import (
    IMAGE,
    Layer,
    NotLocalError,
    Segment,
    Stretch,
    Window,
    plan_stretches,
    to_window,
)

_QUANTIZE = "FakeQuantize"
_ELEMENTWISE = {
    "Add", "BatchNormInference", "Clamp", "Convert", "Divide", "Elu", "Erf", "Gelu", "HardSigmoid",
    "HSigmoid", "HSwish", "Maximum", "Minimum", "Mish", "Multiply", "PRelu", "Relu", "Sigmoid", "Subtract",
    "Swish", "Tanh", _QUANTIZE,
}  # fmt: skip
_WEIGHTED = {"Convolution", "GroupConvolution"}
_POOLING = {"MaxPool", "AvgPool"}


def split_openvino(file: Path, output: str) -> tuple[Segment, ...]:
    """As split_network(), of an .xml file with its .bin beside it."""
    require_extra("openvino", "openvino")
    openvino = import_openvino()
    model = openvino.Core().read_model(str(file))
    nodes = model.get_ordered_ops()
    fixed = _find_fixed(nodes)
    last = model.output(output).get_node().input_value(0).get_node()
    layers = [_to_layer(node, fixed) for node in _leading_to(last, nodes, fixed)]
    maps = {node.get_name(): node.output(0) for node in nodes if node.get_output_size()}
    maps[IMAGE] = model.input(IMAGE)
    return tuple(stretch.to_segment(_cut(openvino, maps, stretch)) for stretch in plan_stretches(layers))


def _find_fixed(nodes: list[Any]) -> set[str]:
    """Names of nodes whose values are the same for every photo."""
    fixed: set[str] = set()
    for node in nodes:
        inputs = node.input_values()
        is_known_shape = node.get_type_name() == "ShapeOf" and inputs[0].get_partial_shape().is_static
        is_fixed = node.get_type_name() != "Parameter" and all(
            one.get_node().get_name() in fixed for one in inputs
        )
        if is_known_shape or is_fixed:
            fixed.add(node.get_name())
    return fixed


def _leading_to(last: Any, nodes: list[Any], fixed: set[str]) -> list[Any]:
    """What makes maps on the way from the photo to a node."""
    wanted, found = {last.get_name()}, []
    for node in reversed(nodes):
        if node.get_name() in wanted - fixed and node.get_type_name() != "Parameter":
            found.append(node)
            wanted |= {one.get_node().get_name() for one in node.input_values()}
    return found[::-1]


def _to_layer(node: Any, fixed: set[str]) -> Layer:
    kind = node.get_type_name()
    read = [one for one in node.input_values() if one.get_node().get_name() not in fixed]
    if kind not in _ELEMENTWISE | _WEIGHTED | _POOLING or any(one.get_index() for one in read):
        raise NotLocalError(f"{kind} does not work on neighbourhoods")
    sources = tuple(_name_of(one.get_node()) for one in read)
    window = None if kind in _ELEMENTWISE else _to_window(node)
    channels = node.get_output_partial_shape(0)[1]
    # What follows a FakeQuantize computes in eight bits only if it sees it: it begins the next segment.
    return Layer(kind, sources, node.get_name(), window, channels.get_length(), kind != _QUANTIZE)


def _name_of(node: Any) -> str:
    return IMAGE if node.get_type_name() == "Parameter" else node.get_name()


def _to_window(node: Any) -> Window:
    kind, given = node.get_type_name(), node.get_attributes()
    if given.get("auto_pad", "explicit") != "explicit" or given.get("rounding_type", "floor") != "floor":
        raise NotLocalError(f"{kind} with a padding that is not known here")
    kernel = given.get("kernel")
    if kind in _WEIGHTED:
        kernel = [side.get_length() for side in node.input_value(1).get_partial_shape()][-2:]
    return to_window(
        kind, kernel, given["strides"], given.get("dilations", (1, 1)), given.get("pads_begin", (0, 0))
    )


def _cut(openvino: Any, maps: dict[str, Any], stretch: Stretch) -> Any:
    """A model of its own, of nodes that are the first one's still: what reads the map that it starts with is
    given the new input instead."""
    start, end = maps[stretch.start], maps[stretch.end]
    shape = openvino.PartialShape([-1, stretch.n_channels[0], -1, -1])
    image = openvino.opset13.parameter(shape, openvino.Type.f32)
    image.output(0).set_names({"image"})
    for reader in start.get_target_inputs():
        if reader.get_node().get_type_name() != "Result":  # that of the segment before
            reader.replace_source_output(image.output(0))
    maps_out = openvino.opset13.result(end)
    maps_out.output(0).set_names({"maps"})
    return openvino.Model([maps_out], [image], "segment")
