"""Segments of an ONNX file: float32, float16, or eight bits between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from flawmap.errors import require_extra
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

_QUANTIZE, _DEQUANTIZE, _CAST = "QuantizeLinear", "DequantizeLinear", "Cast"
_ELEMENTWISE = {
    "Add", "BatchNormalization", "Clip", "Div", "Dropout", "Elu", "Erf", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid", "Sub", "Tanh",
    _CAST, _DEQUANTIZE, _QUANTIZE,
}  # fmt: skip
_SLIDING = {"Conv", "MaxPool", "AveragePool"}


def split_onnx(file: Path, output: str) -> tuple[Segment, ...]:
    """As split_network(), of an ONNX file."""
    require_extra("onnx", "inspect")
    import onnx

    model = onnx.load(str(file))
    constants = {array.name: array for array in model.graph.initializer}
    nodes = _leading_to(_in_order(model.graph.node), output, constants)
    shapes = _fixed_shapes(nodes, constants)
    layers = [_to_layer(node, shapes) for node in nodes if node.output[0] not in shapes]
    types = _number_types(nodes)
    return tuple(
        stretch.to_segment(_to_content(model, nodes, stretch, types)) for stretch in plan_stretches(layers)
    )


def _in_order(nodes: Any) -> list[Any]:
    """Each node behind those that it reads; converters put some of theirs at the end."""
    made_by = {name: i for i, node in enumerate(nodes) for name in node.output}
    reads = {i: [made_by[name] for name in node.input if name in made_by] for i, node in enumerate(nodes)}
    return [nodes[i] for i in TopologicalSorter(reads).static_order()]


def _leading_to(nodes: Any, output: str, known: Any) -> list[Any]:
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            found.append(node)
            wanted |= set(node.input) - set(known)
    return found[::-1]


def _fixed_shapes(nodes: list[Any], constants: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of what is the same for every photo: constants, and weights that are kept in fewer bits."""
    shapes = {name: tuple(array.dims) for name, array in constants.items()}
    for node in nodes:
        if node.op_type in (_DEQUANTIZE, _CAST) and set(node.input) <= set(shapes):
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _to_layer(node: Any, shapes: dict[str, tuple[int, ...]]) -> Layer:
    kind, sources = node.op_type, tuple(name for name in node.input if name and name not in shapes)
    if not sources or len(node.output) != 1 or kind not in _ELEMENTWISE | _SLIDING:
        raise NotLocalError(f"{kind} does not work on neighbourhoods")
    if kind not in _SLIDING:
        return Layer(kind, sources, node.output[0], may_end=kind != _QUANTIZE)
    weights = shapes[node.input[1]] if kind == "Conv" else ()
    window = _to_window(node, weights)
    return Layer(kind, sources, node.output[0], window, weights[0] if weights else None)


def _to_window(node: Any, weights: tuple[int, ...]) -> Window:
    from onnx import helper

    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or given.get("ceil_mode", 0):
        raise NotLocalError(f"{node.op_type} with a padding that is not known here")
    return to_window(
        node.op_type,
        given.get("kernel_shape", weights[2:]),
        given.get("strides", (1, 1)),
        given.get("dilations", (1, 1)),
        given.get("pads", (0, 0, 0, 0))[:2],
    )


def _number_types(nodes: list[Any]) -> dict[str, int]:
    """Of each map whose numbers are not float32, their type in ONNX's own code."""
    from onnx import TensorProto, helper

    types: dict[str, int] = {}
    for node in nodes:
        own = next((types[name] for name in node.input if name in types), TensorProto.FLOAT)
        if node.op_type == _CAST:
            own = next(helper.get_attribute_value(one) for one in node.attribute if one.name == "to")
        if own != TensorProto.FLOAT:
            types[node.output[0]] = own
    return types


def _to_content(model: Any, nodes: list[Any], stretch: Stretch, types: dict[str, int]) -> bytes:
    from onnx import TensorProto, helper

    constants = {array.name: array for array in model.graph.initializer}
    start, end = stretch.start, stretch.end
    first = _enter(nodes, start, types)
    names = {start: first[-1].output[0] if first else "image", end: "maps"}
    last = []
    if end in types:
        names[end] = "unlike"
        last = [helper.make_node(_CAST, ["unlike"], ["maps"], to=TensorProto.FLOAT)]
    chosen = [_copy(node, names) for node in _leading_to(nodes, end, {*constants, start})]
    chosen = [*first, *chosen, *last]
    used = {name for node in chosen for name in node.input}
    to_value = helper.make_tensor_value_info
    graph = helper.make_graph(
        chosen,
        "segment",
        [to_value("image", TensorProto.FLOAT, ["n", stretch.n_channels[0], "h", "w"])],
        [to_value("maps", TensorProto.FLOAT, ["n", stretch.n_channels[1], "h_out", "w_out"])],
        [array for name, array in constants.items() if name in used],
    )
    file = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return file.SerializeToString()


def _enter(nodes: list[Any], start: str, types: dict[str, int]) -> list[Any]:
    """The nodes that make of a segment's float32 input what the network has there: the same numbers in their
    own type; in eight bits, since the layers behind compute in these only if they see such nodes."""
    from onnx import helper

    if start in types:
        return [helper.make_node(_CAST, ["image"], ["again"], to=types[start])]
    made_by = {node.output[0]: node for node in nodes}
    ends = made_by.get(start)
    if start == IMAGE or ends is None or ends.op_type != _DEQUANTIZE:
        return []
    pairs = zip((made_by[ends.input[0]], ends), (("image", "eight"), ("eight", "again")), strict=True)
    return [_copy(node, {node.input[0]: source, node.output[0]: made}) for node, (source, made) in pairs]


def _copy(node: Any, names: dict[str, str]) -> Any:
    """With other names for some of what it reads and makes."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    return copy
