"""Photos a second through a segmenter's file, against the same network in torch:

    python benchmarks/mask_speed.py FOLDER

One run, same photos, same threads, float32, decoding included. The network is a U-Net on the bundled backbone
with weights as they come, which take the same time as trained ones. The loops are what one writes with torch
(photos opened one after the other, one photo a batch, inference mode), in the default memory layout and in
channels-last; flawmap is what `flawmap predict` runs. Rounds alternate, medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path


def main() -> None:
    """Print photos a second of each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder of photos")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--decoder", default="unet")
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    import numpy as np
    import torch
    from PIL import Image

    from flawmap.records import Cleaning, MaskSpec
    from flawmap.stages.export.onnx_file import to_file
    from flawmap.tools.backbones import SegmenterNetwork, default_depth, spare_work
    from flawmap.tools.mask_cleaning import clean_masks
    from flawmap.tools.photos import find_photos, read_images
    from flawmap.tools.runtime import RuntimeOptions, map_ordered, open_masks
    from flawmap.tools.segmenting import pad_image, to_probabilities
    from flawmap.tools.zoo import bundled_entries

    torch.set_num_threads(asked.threads)
    entry = next(e for e in bundled_entries() if e.id == asked.backbone)
    depth = default_depth(entry)
    network = SegmenterNetwork(entry, depth, asked.decoder, 1)
    paths = [path for path, _ in find_photos(asked.folder).files][: asked.photos]
    spec = MaskSpec(entry.id, depth, asked.decoder, Cleaning((0.5,)))

    def loop(layout: torch.memory_format) -> None:
        network.to(memory_format=layout)
        found = []
        with torch.inference_mode():
            for path in paths:
                with Image.open(path) as opened:
                    image = np.asarray(opened.convert("RGB"))
                padded = torch.from_numpy(pad_image(image, 32)).permute(2, 0, 1)[None].float()
                found.append(network(padded.contiguous(memory_format=layout)).sigmoid().numpy() >= 0.5)

    file = open_masks(
        to_file(spare_work(network), (96, 160), {"masks": ("n", None, "h", "w")}, any_size=True),
        RuntimeOptions(),
    )

    def ours() -> None:
        def work(image: np.ndarray) -> np.ndarray:
            return clean_masks(to_probabilities(file, image, spec), spec.cleaning)

        for _ in map_ordered(work, read_images(paths), asked.threads):
            pass

    # The backbone asks for channels-last by itself; the eager loop is without it, as plain code is.
    plain = _without_channels_last(network)
    ways = {
        "torch eager": lambda: plain(loop),
        "torch channels-last": lambda: loop(torch.channels_last),
        "flawmap": ours,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(paths) / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{asked.decoder} on {entry.id}, {len(paths)} photos, {asked.threads} threads, float32")
    for name, median in medians.items():
        print(f"{name:20s}{median:7.2f} photos/s   flawmap is {medians['flawmap'] / median:.2f}x")


def _without_channels_last(network):
    """Runs a loop with the backbone's own change of memory layout switched off."""
    import types

    import torch

    backbone = network.backbone

    def forward(self, images, depths=None):
        return self.body((images - self.mean) / self.std, (self.last,) if depths is None else sorted(depths))

    def run(loop) -> None:
        backbone.forward = types.MethodType(forward, backbone)
        try:
            loop(torch.contiguous_format)
        finally:
            del backbone.forward

    return run


if __name__ == "__main__":
    main()
