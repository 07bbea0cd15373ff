"""Cut a network's file into segments that can each be run piece by piece over a large photo.

Every value of a convolutional network depends on a bounded neighbourhood. Seen through the whole network that
is hundreds of pixels (556 for EfficientNet-Lite1 at depth 5), and pieces with such margins would be mostly
margin. So the network is cut where its maps are thin; each segment sees a few cells only, is run over the
whole map of the one before it, and the pieces' margins cost little. `geometry` says where, whatever the file;
beside it is a reader of each kind of file.
"""

from __future__ import annotations

from pathlib import Path

from flawmap.tools.segments.geometry import NotLocalError, Segment
from flawmap.tools.segments.onnx_files import split_onnx
from flawmap.tools.segments.openvino_files import split_openvino

__all__ = ["NotLocalError", "Segment", "split_network"]


def split_network(file: Path, output: str = "features") -> tuple[Segment, ...]:
    """The segments of a model file that lead from `image` to an output, in their order.

    Raises NotLocalError where the output is not a map of neighbourhoods, or the file (LiteRT) takes photos of
    one size only; and MissingExtraError.
    """
    if file.suffix == ".onnx":
        return split_onnx(file, output)
    if file.suffix == ".xml":
        return split_openvino(file, output)
    raise NotLocalError(f"{file.name} takes photos of one size")
