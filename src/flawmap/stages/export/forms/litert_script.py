"""Run by the Python of LiteRT's own environment, never imported: ONNX FILE, .tflite FILE, height, width.

It reads the network's file back into torch, which is what LiteRT's converter takes, and gives the outputs
their names.
"""

import sys

import litert_torch  # type: ignore[import-not-found]
import onnx
import torch
from onnx2torch import convert  # type: ignore[import-not-found]

OPSET = 17
"""The newest that onnx2torch knows all of a classifier's operators of."""


def read_network(path: str) -> tuple[torch.nn.Module, list[str]]:
    """The network, and the names of its outputs."""
    model = onnx.load(path)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("ReduceMean", "ReduceMax") and len(node.input) > 1:  # axes were an attribute then
            axes = onnx.numpy_helper.to_array(values[node.input[1]]).tolist()
            kept = [attribute for attribute in node.attribute if attribute.name == "keepdims"]
            del node.input[1], node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("axes", axes)])
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    onnx.checker.check_model(model)
    return convert(model).eval(), [output.name for output in model.graph.output]


class Named(torch.nn.Module):
    """The network with its outputs by name."""

    def __init__(self, network: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.network(image), strict=True))


if __name__ == "__main__":
    source, target, height, width = sys.argv[1:]
    network = Named(*read_network(source)).eval()
    example = torch.full((1, 3, int(height), int(width)), 127.0)
    litert_torch.convert(network, sample_kwargs={"image": example}).export(target)
